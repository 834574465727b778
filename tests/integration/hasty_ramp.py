"""The `ramp` program, but a second attempt is put off for a moment only: `python -m ... WORDS`."""

from __future__ import annotations

import sys

from ramp_engine.cli.main import main
from tests.integration.mortal import retry_soon

if __name__ == "__main__":
    retry_soon()
    sys.exit(main())
