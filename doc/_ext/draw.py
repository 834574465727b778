"""Write the pictures of the documentation that are drawn by programs: `make pictures`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from state_picture import draw_states
from submission_picture import draw_submission

__all__ = ["PICTURES", "main"]

#: Each picture's file in doc/pictures, and what draws it.
PICTURES: dict[str, Callable[[], str]] = {
    "states.svg": draw_states,
    "submission.svg": draw_submission,
}


def main() -> None:
    """Write all of them."""
    directory = Path(__file__).parent.parent / "pictures"
    for name, draw in PICTURES.items():
        (directory / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
