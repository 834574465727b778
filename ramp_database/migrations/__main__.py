"""Draft the next revision: ``python -m ramp_database.migrations "Add a column"``."""

from __future__ import annotations

import sys

from ramp_database.migrations.draft import draft

if __name__ == "__main__":
    print(draft(" ".join(sys.argv[1:]) or sys.exit(str(__doc__))))
