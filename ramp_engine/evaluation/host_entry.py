"""The first thing in the program's archive: unpack it beside itself, and answer the request.

Parts of it are run as files, by interpreters other than this one, so that it has to be unpacked.
Pythons that are too old for the rest can read this module, and say so.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys

PACKAGE = "ramp_evaluation"


def _unpacked(archive: str) -> str:
    """Return the folder of the archive's files, which appears as a whole."""
    folder = os.path.splitext(archive)[0]  # noqa: PTH122
    if not os.path.isdir(folder):  # noqa: PTH112
        import shutil
        import tempfile
        import zipfile

        temporary = tempfile.mkdtemp(prefix=".unpacking-", dir=os.path.dirname(folder))  # noqa: PTH120
        try:
            with zipfile.ZipFile(archive) as files:
                files.extractall(temporary)
            os.rename(temporary, folder)  # noqa: PTH104
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not os.path.isdir(folder):  # noqa: PTH112  somebody else was faster
                raise
    return os.path.join(folder, "evaluation")  # noqa: PTH118


def _run(archive: str) -> int:
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [_unpacked(archive)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    from pathlib import Path

    return int(importlib.import_module(f"{PACKAGE}.host").main(Path(archive).parent))


def _fail(kind: str, message: str) -> None:
    print(json.dumps({"error": {"kind": kind, "message": message, "hint": ""}}))


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        _fail("python", f"python3 on the instance is {sys.version.split()[0]}; 3.9 is needed")
    else:
        os.umask(0o022)
        try:
            _run(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
        except OSError as error:
            full = error.errno in (28, 122)
            _fail("disk" if full else "ours", f"the program cannot be unpacked: {error}")
