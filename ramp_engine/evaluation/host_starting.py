"""Beginning a run on a machine that is reached from elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .gpu_devices import found_gpus, gpu_access
from .host_keeper import ASKED, PLAN
from .host_place import HostError, HostPlace, checked_hash
from .host_runs import HostRun
from .host_unpacking import unpack
from .plan import LEVELS
from .run_command import GRACE_SECONDS, fold_arguments, let_pass, run_environment, threads_of_a_fold
from .run_folder import FoldScratch, find_tmp


def start(place: HostPlace, request: dict[str, Any]) -> dict[str, Any]:
    """Start a run, unless that was done before."""
    run = HostRun(place.run(request))
    if run.is_known:
        return {"state": "running" if run.end_of() is None else "ended"}
    run.remove()  # what a start has left that was itself ended
    archive, sha256, n_bytes = place.sent(request.get("submission"))
    try:
        run.folder.mkdir(mode=0o700)
        unpack(archive, sha256, n_bytes, run.folder / "submission", "request")
        _write_plan(place, run.folder, request)
        _mark(place, request["sandbox"])
        _launch(place, run.folder)
    except BaseException:
        run.remove()
        raise
    archive.unlink()
    return {"state": "running"}


def _write_plan(place: HostPlace, folder: Path, request: dict[str, Any]) -> None:
    bundle = place.bundles / checked_hash(request, "bundle")
    if not bundle.is_dir():
        raise HostError("bundle", "the bundle of the run is not here")
    scratch = FoldScratch(folder, find_tmp(folder))
    plan: dict[str, Any] = {"tmp": str(scratch.tmp)}
    (folder / PLAN).write_text(json.dumps(plan))  # it may be elsewhere, and must be found again
    scratch.make()
    (folder / ASKED).touch()
    python, n_jobs = Path(request["python"]), request["n_jobs"]
    visible, sandbox = _with_gpus(place, request)
    passed = (place.root, place.runs, place.bundles, folder, scratch.tmp)
    let_pass(sandbox, (*passed, place.program.parent))
    step = fold_arguments(
        scratch,
        bundle=bundle,
        submission=folder / "submission",
        n_jobs=n_jobs,
        sandbox=sandbox,
        folds=request["folds"],
    )
    threads = threads_of_a_fold(bundle, request["n_threads"], n_jobs)
    environment = run_environment(python, scratch.home, scratch.tmp, threads, visible)
    plan |= {"command": [str(python), "-I", str(place.program), *step], "environment": environment}
    plan |= {"cwd": str(scratch.work), "grace_seconds": GRACE_SECONDS}
    plan |= {key: request[key] for key in ("timeout_seconds", "orphan_seconds")}
    (folder / PLAN).write_text(json.dumps(plan))


def _with_gpus(place: HostPlace, request: dict[str, Any]) -> tuple[Sequence[str], dict[str, Any]]:
    """Give what CUDA is told, and the sandbox with what the run's GPUs need."""
    sandbox, gpus = request["sandbox"], list(map(str, request["gpus"]))
    missing = set(gpus).difference(found_gpus(place.dev))
    if missing:
        raise HostError("request", f"the instance has no GPU {', '.join(sorted(missing))}")
    access = gpu_access(gpus, is_confined=sandbox["level"] != LEVELS[-1], dev=place.dev)
    more = {"read": [*sandbox["read"], *access.read], "devices": list(access.devices)}
    return access.visible, {**sandbox, **more}


def _mark(place: HostPlace, sandbox: dict[str, Any]) -> None:
    """Remember what a less confined run could leave behind."""
    level, uid = sandbox.get("level"), sandbox.get("uid")
    if level != "namespaces":
        (place.marks / ("loose" if level == "none" or uid is None else f"uid_{uid:d}")).touch()


def _launch(place: HostPlace, folder: Path) -> None:
    """Start the keeper, which nothing of this process's connection holds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _detach(place, folder, writer)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, "rb") as pipe:  # noqa: PTH123 (a descriptor)
        said = pipe.readline().decode("utf-8", "replace").strip()
    if said != "started":
        number, _, words = said.partition(" ")
        code = int(number) if number.isdigit() else 0
        raise OSError(code, words or "the keeper of the run does not start")


def _detach(place: HostPlace, folder: Path, writer: int) -> NoReturn:
    """Become the keeper, in a process just forked."""
    try:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            errors = os.open(folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for source, target in ((null, 0), (null, 1), (errors, 2)):
                os.dup2(source, target)
            os.set_inheritable(writer, True)
            script = str(place.program / "host_keeper.py")
            command = [sys.executable, "-I", "-S", script, str(folder), str(writer)]
            os.execv(sys.executable, command)  # noqa: S606 (this program, no shell)
    finally:
        os._exit(0)
