"""Control groups: where they are made, what the kernel holds in them, that none is left."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.evaluation import control_group
from ramp_engine.evaluation.control_group import ControlGroup, Hierarchy, find_hierarchy
from ramp_engine.evaluation.limits import Limits
from tests.hostile.harness import Arena
from tests.kits.evaluation import bundled_event
from tests.kits.light import lighten

#: Keeps the groups of the machine out of sight; what runs in it finds none.
WITHOUT_GROUPS = [
    "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh",
]  # fmt: skip
N_MB = 1 << 20


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    found = find_hierarchy()
    if found is None or found.memory is None or not _is_usable(found):
        pytest.skip("this machine lets these tests make no control group for memory")
    return found


def _is_usable(hierarchy: Hierarchy) -> bool:
    try:
        ControlGroup(hierarchy, Limits(memory_mb=100)).remove()
    except OSError:
        return False
    return True


@pytest.fixture
def group(hierarchy: Hierarchy) -> Iterator[ControlGroup]:
    group = ControlGroup(hierarchy, Limits(memory_mb=100, processes=1))
    yield group
    group.remove()


def _run(group: ControlGroup, code: str) -> int:
    """Run code in a process of the group; give its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            group.enter()
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])  # noqa: S606
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _groups(hierarchy: Hierarchy) -> list[Path]:
    mine = f"ramp-fold-{os.getpid()}-*"
    return [path for folder in hierarchy.folders for path in folder.glob(mine)]


def test_the_kernel_ends_who_takes_more_memory_than_the_group_has(group: ControlGroup) -> None:
    assert _run(group, "bytearray(30 << 20)") == 0
    assert not group.is_exhausted
    assert _run(group, "bytearray(300 << 20)") == -signal.SIGKILL
    assert group.is_exhausted


def test_memory_is_counted_while_it_is_held_also_that_of_files(group: ControlGroup) -> None:
    reader, writer = os.pipe()
    answer, reply = os.pipe()
    code = (
        "import os\n"
        "held = bytearray(os.urandom(30 << 20))\n"
        "file = os.memfd_create('held')\n"
        "for _ in range(30): os.write(file, bytes(1 << 20))\n"
        f"os.write({writer}, b'x'); os.read({answer}, 1)\n"
    )
    for number in (writer, answer):
        os.set_inheritable(number, True)
    pid = os.fork()
    if pid == 0:
        os.close(reply)
        os._exit(_run(group, code))
    try:
        os.close(writer)
        assert os.read(reader, 1) == b"x"
        found = group.own_bytes()
    finally:
        os.close(reply)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(answer)
    assert found is not None
    assert 60 * N_MB <= found < 100 * N_MB


def test_the_kernel_refuses_tasks_beyond_the_barrier(
    group: ControlGroup, hierarchy: Hierarchy
) -> None:
    if hierarchy.tasks is None:
        pytest.skip("this machine has no control group for tasks")
    code = (
        "import os, signal\n"
        "pids = []\n"
        "try:\n"
        "    while len(pids) < 300:\n"
        "        pid = os.fork()\n"
        "        if pid == 0: signal.pause()\n"
        "        pids.append(pid)\n"
        "except BlockingIOError: pass\n"
        "for pid in pids: os.kill(pid, 9); os.waitpid(pid, 0)\n"
        "os._exit(len(pids))\n"
    )
    assert _run(group, code) == Limits(processes=1).n_tasks - 1  # type: ignore[operator]


def test_a_group_goes_with_its_block(hierarchy: Hierarchy) -> None:
    with control_group.control_group(Limits(memory_mb=100)) as group:
        assert group is not None
        assert _groups(hierarchy)
    assert _groups(hierarchy) == []


def test_groups_of_fold_steps_that_were_killed_are_swept_up(hierarchy: Hierarchy) -> None:
    (folder, *_) = hierarchy.folders
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left = folder / f"ramp-fold-{pid}-0"
    used = folder / f"ramp-fold-{os.getpid()}-1000000"
    left.mkdir()
    used.mkdir()
    try:
        control_group.sweep(folder)
        assert (left.exists(), used.exists()) == (False, True)
    finally:
        used.rmdir()


def test_without_limits_there_is_no_group(hierarchy: Hierarchy) -> None:
    with control_group.control_group(Limits(log_mb=1)) as group:
        assert group is None
    assert _groups(hierarchy) == []


@pytest.fixture(scope="module", params=["namespaces", "none"])
def arena(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    lighten(event.kit)
    assert event.prepare().code == 0
    return Arena(event, request.param)


def test_files_in_memory_count_as_memory(hierarchy: Hierarchy, arena: Arena) -> None:
    aftermath = arena.run("memory_in_files", {"memory_mb": 400})
    assert (aftermath.last["state"], aftermath.limit) == ("training_error", "memory")
    says = r"out of memory: [\d.]+ MB of 400 MB in fold 0, training(, of which \d+ MB in .*)?\n"
    assert re.match(says, aftermath.last["error"])
    assert aftermath.survivors == []


def test_memory_is_limited_without_groups_as_well(arena: Arena) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can hide the control groups for a test")
    aftermath = arena.run("memory_in_ten_processes", {"memory_mb": 1024}, within=WITHOUT_GROUPS)
    assert (aftermath.last["state"], aftermath.limit) == ("training_error", "memory")
    assert aftermath.survivors == []


@pytest.fixture(scope="module")
def confined(arena: Arena) -> Arena:
    if os.geteuid() != 0:
        pytest.skip("only root can hide the control groups for a test")
    if arena.level != "namespaces":
        pytest.skip("/tmp and /dev/shm are the machine's at this level")
    return arena


def test_files_in_memory_count_without_groups_as_well(confined: Arena) -> None:
    aftermath = confined.run("memory_in_tmp", {"memory_mb": 400}, within=WITHOUT_GROUPS)
    assert (aftermath.last["state"], aftermath.limit) == ("training_error", "memory")
    says = (
        r"out of memory: [\d.]+ MB of 400 MB in fold 0, training, "
        r"of which \d+ MB in /tmp and /dev/shm\n"
    )
    assert re.fullmatch(says, aftermath.last["error"])
    assert aftermath.survivors == []


def test_a_file_in_memory_that_is_mapped_counts_once(confined: Arena) -> None:
    aftermath = confined.run("shares_memory", {"memory_mb": 500}, within=WITHOUT_GROUPS)
    assert [fold["state"] for fold in aftermath.folds] == ["tested", "tested"], aftermath.last
    assert 300 <= aftermath.last["peak_memory_mb"] < 500


class Machine:
    """Files as a kernel shows them, for layouts that the machine of the tests does not have."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.place = root / "cgroup"
        (self.proc / "self").mkdir(parents=True)

    def shows(self, mounts: str, groups: str) -> None:
        (self.proc / "self/mountinfo").write_text(mounts.replace("PLACE", str(self.place)))
        (self.proc / "self/cgroup").write_text(groups)

    def add(self, path: str, controllers: str = "") -> Path:
        folder = self.place / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.subtree_control").write_text(controllers)
        return folder


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


V2 = "30 20 0:25 / PLACE rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
SERVICE = "0::/system.slice/ramp.service/dispatcher\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="delegation to root is told by an attribute")
def test_version_2_is_used_beside_the_own_group_where_it_is_delegated(machine: Machine) -> None:
    machine.shows(V2, SERVICE)
    service = machine.add("system.slice/ramp.service", "memory pids")
    machine.add("system.slice/ramp.service/dispatcher")
    assert find_hierarchy(machine.proc) is None
    os.setxattr(service, "user.delegate", b"1")
    found = find_hierarchy(machine.proc)
    assert found is not None
    assert (found.memory, found.tasks) == (service, service)
    assert found.folders == [service]


@pytest.mark.skipif(os.geteuid() != 0, reason="delegation to root is told by an attribute")
def test_version_2_is_used_for_what_it_offers(machine: Machine) -> None:
    machine.shows(V2, SERVICE)
    service = machine.add("system.slice/ramp.service", "pids")
    machine.add("system.slice/ramp.service/dispatcher")
    os.setxattr(service, "user.delegate", b"1")
    found = find_hierarchy(machine.proc)
    assert found is not None
    assert (found.memory, found.tasks) == (None, service)
    (service / "cgroup.subtree_control").write_text("")
    assert find_hierarchy(machine.proc) is None


def test_the_group_of_a_container_is_not_left(machine: Machine) -> None:
    machine.shows(V2, "0::/\n")
    machine.add("")
    assert find_hierarchy(machine.proc) is None


def test_version_1_is_used_below_the_own_group(machine: Machine) -> None:
    machine.shows(
        "31 20 0:26 /docker/abc PLACE/memory ro - cgroup cgroup rw,memory\n"
        "32 20 0:27 /docker/abc PLACE/pids ro - cgroup cgroup rw,pids,other\n" + V2,
        "5:pids,other:/docker/abc\n4:memory:/docker/abc/run\n0::/\n",
    )
    memory = machine.add("memory/run")
    pids = machine.add("pids")
    found = find_hierarchy(machine.proc)
    assert found is not None
    assert (found.memory, found.tasks) == (memory, pids)


def test_groups_out_of_reach_are_not_used(machine: Machine) -> None:
    machine.shows(
        "31 20 0:26 /docker/abc PLACE/memory ro - cgroup cgroup rw,memory\n", "4:memory:/other\n"
    )
    machine.add("memory")
    assert find_hierarchy(machine.proc) is None
    machine.shows("", "")
    assert find_hierarchy(machine.proc) is None
