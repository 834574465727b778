"""The word that is left beside predictions of which a part is not kept."""

from __future__ import annotations

from pathlib import Path

from .untrusted_files import read_text, write_text

_FILE = "kept.txt"
_ONLY_TEST = "test-only"


def note_test_only(output: Path) -> None:
    """Say that of these predictions only those of the test data are kept."""
    write_text(output, _FILE, _ONLY_TEST)


def is_test_only(predictions: Path) -> bool:
    """Tell whether of published predictions only those of the test data were kept.

    Parameters
    ----------
    predictions : Path
        Holds ``fold_<i>/``; whoever wants to read ``y_pred_train`` there asks this first.
    """
    return read_text(predictions, _FILE) == _ONLY_TEST
