"""How a fold's process begins: forked, cut off from the logs, confined, limited."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import child, confine, namespaces, stopping
from .control_group import ControlGroup
from .diagnosis import step
from .limits import Sandbox
from .private import BEGUN

#: Size of /tmp and of /dev/shm where nothing is said [MB].
DEFAULT_TMP_MB = 1024
#: The variable by which a fold finds the folder where it may save what it needs to be resumed.
CHECKPOINT_DIR = "RAMP_CHECKPOINT_DIR"


@dataclass(frozen=True)
class Pipes:
    """What is between parent and child: for each the parent's end and the child's."""

    log: tuple[int, int]  #: what is printed
    facts: tuple[int, int]  #: what the child says of itself
    go: tuple[int, int]  #: that the test data may be read
    control: tuple[int, int]  #: to and from the first process of the namespaces
    status: tuple[int, int]  #: the wait status of the participant's process

    @classmethod
    def open(cls) -> Pipes:
        """Open all of them."""
        ours, theirs = socket.socketpair()
        go_in, go_out = os.pipe()
        control = ours.detach(), theirs.detach()
        return cls(os.pipe(), os.pipe(), (go_out, go_in), control, os.pipe())

    def close(self, end: int) -> None:
        """Close all ends of one side: 0 the parent's, 1 the child's."""
        for ends in (self.log, self.facts, self.go, self.control, self.status):
            os.close(ends[end])


@dataclass(frozen=True)
class Places:
    """The folders of one fold."""

    write: Sequence[Path]  #: it may write there
    read: Sequence[Path]  #: it must be able to read there, besides what the system has
    released: Sequence[Path]  #: it may read there when it has trained
    home: Optional[Path] = None  #: None: as in the environment
    tmp: Optional[Path] = None
    checkpoint: Optional[Path] = None  #: one of `write`, which the fold is told of


def n_keepers(box: Sandbox) -> int:
    """Return how many processes of ours stand between the parent and the participant's code."""
    if box.level != "namespaces":
        return 0
    return 1 if namespaces.can_fork_first() else 2


def own_places(places: Places, scratch: Path, fold: int, sandbox: Sandbox) -> Places:
    """Give a fold folders of its own for HOME and TMPDIR.

    Parameters
    ----------
    places : Places
        Those that it has.
    scratch : Path
        Where the folds work.
    fold : int
        Its number.
    sandbox : Sandbox
        How it is confined.

    Notes
    -----
    TMPDIR is made in that of this process, since paths of sockets must be short. Within namespaces
    it is a file system of its own.
    """
    home = scratch / f"home_{fold}"
    home.mkdir(exist_ok=True)
    if sandbox.level == "namespaces":
        tmp = Path("/tmp")  # noqa: S108 (a file system of its own)
        return replace(places, write=[*places.write, home], home=home, tmp=tmp)
    parent = os.environ.get("TMPDIR") or scratch
    tmp = Path(tempfile.mkdtemp(prefix="fold-", dir=parent))
    return replace(places, write=[*places.write, home, tmp], home=home, tmp=tmp)


def fork(
    task: child.Task,
    inputs: tuple[Any, Any, Any, Any],
    pipes: Pipes,
    places: Places,
    box: Sandbox,
    group: Optional[ControlGroup],
) -> int:
    """Start the fold.

    Parameters
    ----------
    task : child.Task
        What it does.
    inputs : tuple
        The other arguments of `child.run`.
    pipes : Pipes
        The child's ends are closed on this side.
    places : Places
        Its folders, which exist.
    box : Sandbox
        How it is confined.
    group : ControlGroup or None
        It is put into.

    Returns
    -------
    int
        Its pid.

    Raises
    ------
    ConfinementError
        The machine refuses.
    """
    if box.uid is not None and os.geteuid() == 0:
        with step(f"give the folders of a fold to user {box.uid}"):
            for folder in places.write:
                os.chown(folder, box.uid, -1 if box.gid is None else box.gid)
    sys.stdout.flush()
    sys.stderr.flush()
    with step("start the process of a fold"):
        pid = namespaces.fork() if box.level == "namespaces" else os.fork()
    if pid == 0:
        _begin(task, inputs, pipes, places, box, group)
    pipes.close(1)
    return pid


def _begin(
    task: child.Task,
    inputs: tuple[Any, Any, Any, Any],
    pipes: Pipes,
    places: Places,
    box: Sandbox,
    group: Optional[ControlGroup],
) -> NoReturn:
    try:
        stopping.forget()
        pipes.close(0)
        if group is not None:
            with step("enter the control group of the fold"):
                group.enter()
        _redirect(pipes.log[1])
        _move_home(places)
        confine.enter(
            _plan(places, box),
            pipes.control[1],
            pipes.status[1],
            keep={task.log, task.facts, task.go},
        )
        os.write(task.facts, BEGUN)
    except BaseException as error:  # noqa: BLE001 (nothing of theirs has run: it is ours to tell)
        child.tell_failure(task.facts, error)
        os._exit(child.EXIT_OURS)
    child.run(task, *inputs)


def _plan(places: Places, box: Sandbox) -> confine.Confinement:
    asked_for = {*map(str, places.read), *box.read}
    for path in asked_for:
        if not os.path.exists(path):  # noqa: PTH110  (text all the way)
            hint = "Put it back, or correct extra_read_paths if it stands there"
            raise confine.ConfinementError(f"what submissions shall read is gone: {path}", hint)
    return confine.Confinement(
        level=box.level,
        uid=box.uid,
        gid=box.gid,
        read=sorted({*filter(os.path.exists, _libraries(places)), *asked_for}),
        write=[str(path) for path in places.write],
        released=[str(path) for path in places.released if path.exists()],
        devices=box.devices,
        allow_network=box.allow_network,
        tmp_mb=int(box.limits.tmp_mb or DEFAULT_TMP_MB),
        rlimits=_rlimits(box),
    )


def _libraries(places: Places) -> set[str]:
    """Return where modules come from; not each place has to exist.

    A folder above those of the event, as an editable installation beside it puts on ``sys.path``,
    would show its configuration, its data and other submissions, and is left out.
    """
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    package = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    ours = [Path(os.path.realpath(place)) for place in (*places.read, *places.write)]
    paths = {
        path
        for path in filter(None, sys.path)
        if not any(place.is_relative_to(os.path.realpath(path)) for place in ours)
    }
    return {*prefixes, *paths, package}


def _rlimits(box: Sandbox) -> dict[str, int]:
    """Return what the kernel shall hold.

    Without namespaces its count of tasks would take in those of other folds.
    """
    rlimits = box.limits.rlimits()
    if box.level == "namespaces" and box.limits.n_tasks is not None:
        rlimits["NPROC"] = box.limits.n_tasks
    return rlimits


def _redirect(log: int) -> None:
    """Put the pipe in place of the log, wherever the kit's code may have kept a copy of it."""
    outputs = {_identity(number) for number in (1, 2)}
    for number in _descriptors():
        with contextlib.suppress(OSError):
            if _identity(number) in outputs:
                os.dup2(log, number)
    for number in (1, 2):
        os.dup2(log, number)


def _descriptors() -> list[int]:
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return [number for number in numbers if number != 0]


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _move_home(places: Places) -> None:
    variables = ("HOME", places.home), ("TMPDIR", places.tmp), (CHECKPOINT_DIR, places.checkpoint)
    for name, folder in variables:
        if folder is not None:
            os.environ[name] = str(folder)
    tempfile.tempdir = None  # it may have been looked up before
