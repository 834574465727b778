"""What a confined process can do and what it cannot, at each level."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.confined import (
    NOBODY,
    PACKAGE,
    Room,
    Variant,
    open_room,
)
from tests.integration.presence import PATIENCE_SECONDS, Presence
from tests.open_environment import open_python
from tests.refusals import CREATE_RULESET, UNSHARE, filtering

NAMESPACES = [Variant("namespaces", is_root=True), Variant("namespaces", is_root=False)]
LANDLOCK = [Variant("landlock", is_root=True), Variant("landlock", is_root=False)]


@pytest.fixture(params=[*NAMESPACES, *LANDLOCK], ids=lambda variant: variant.name)
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    yield from open_room(request.param)


@pytest.fixture(params=NAMESPACES, ids=lambda variant: variant.name)
def own_room(request: pytest.FixtureRequest) -> Iterator[Room]:
    """A room at the strongest level only."""
    yield from open_room(request.param)


@pytest.fixture
def presence() -> Iterator[Presence]:
    presence = Presence()
    yield presence
    presence.close()


# -- files --------------------------------------------------------------------------------------


def test_foreign_files_cannot_be_read(room: Room) -> None:
    code = """
paths = [ROOM + "/secret.txt", "/etc/shadow", "/etc/hostname", "/root/.profile", "/proc/1/environ",
         "/proc/1/mem", "/proc/%d/environ" % os.getppid(), "/var/lib/dpkg/status", "/boot", "/var"]
say([outcome(lambda: os.listdir(path) if os.path.isdir(path) else open(path).read())[0]
     for path in paths])
"""
    assert set(room.run(code).only) <= {"FileNotFoundError", "PermissionError"}


def test_foreign_paths_are_not_even_named(own_room: Room) -> None:
    code = 'say([os.listdir("/"), os.listdir(ROOM), os.path.exists("/root/.profile")])'
    root, names, has_home = own_room.run(code).only
    assert set(root) <= {
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "tmp", "usr",
        Path(sys.prefix).parts[1], Path(sys.base_prefix).parts[1],
    }  # fmt: skip
    assert set(names) == {"read", "write", "hidden", "evaluation"}
    assert not has_home


def test_read_paths_are_read_and_not_written(room: Room) -> None:
    code = """
say(open(ROOM + "/read/shown.txt").read())
say([outcome(open, ROOM + "/read/" + name, "w")[0] for name in ("shown.txt", "new.txt")])
say(outcome(os.unlink, ROOM + "/read/shown.txt")[0])
say(outcome(open, "/usr/new.txt", "w")[0])
"""
    read, written, removed, system = room.run(code).said
    assert read == "this is shown.txt\n"
    assert {*written, removed, system} <= {"OSError", "PermissionError"}


def test_write_paths_are_written_and_kept(room: Room) -> None:
    room.run('os.mkdir(ROOM + "/write/a"); open(ROOM + "/write/a/b", "w").write("kept")')
    assert (room.path / "write/a/b").read_text() == "kept"


def test_nothing_else_may_be_written(own_room: Room) -> None:
    code = """
places = ["/", "/etc", "/dev", "/proc", "/sys/devices/system/cpu", "/usr"]
places += [ROOM + "/read", ROOM + "/hidden"]
say([outcome(open, place + "/new", "w")[0] for place in places])
paths = "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"
say([outcome(open, path, "w")[0] for path in paths])
"""
    for outcomes in own_room.run(code).said:
        assert "done" not in outcomes


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_temporary_files_have_a_size(own_room: Room, place: str) -> None:
    code = f"""
def fill():
    with open("{place}/big", "wb") as file:
        for _ in range(20):
            file.write(bytes(1 << 20))
            file.flush()
say(outcome(fill)); os.unlink("{place}/big")
say(os.statvfs("{place}").f_files)
"""
    full, n_files = own_room.run(code, tmp_mb=8).said
    assert full == ["OSError", 28]
    assert n_files <= 200_000


def test_what_is_hidden_appears_at_the_release_read_only(own_room: Room) -> None:
    code = """
place = ROOM + "/hidden/X.txt"
say(outcome(open, place)[0]); say(os.listdir(ROOM + "/hidden"))
release()
say(open(place).read()); say([outcome(open, place, "w")[0], outcome(os.unlink, place)[0]])
"""
    before, listed, wish, after, written = own_room.run(code).said
    assert (before, listed, wish) == ("FileNotFoundError", [], "please release")
    assert after == "this is X.txt\n"
    assert "done" not in written


def test_what_is_hidden_below_something_shown_appears_at_the_release(own_room: Room) -> None:
    code = """
say(os.path.exists(ROOM + "/read/deep/y")); say(os.path.exists(ROOM + "/read/file"))
release()
say([open(ROOM + "/read/" + name).read() for name in ("deep/y", "file")])
"""
    (own_room.path / "read/deep").mkdir(mode=0o755)
    for name in ("deep/y", "file"):
        (own_room.path / "read" / name).write_text(name)
    released = [str(own_room.path / "read" / name) for name in ("deep", "file")]
    answer = own_room.run(
        code.replace('os.path.exists(ROOM + "/read/file")', 'open(ROOM + "/read/file").read()'),
        released=released,
    )
    assert answer.said == [False, "", "please release", ["deep/y", "file"]]


def test_links_in_a_path_are_followed(own_room: Room) -> None:
    (own_room.path / "link").symlink_to("read")
    read = [str(own_room.path / "link/shown.txt"), str(own_room.path / "evaluation")]
    read += [sys.prefix, sys.base_prefix] if own_room.variant.is_root else []
    answer = own_room.run('say(open(ROOM + "/link/shown.txt").read())', read=read)
    assert answer.only == "this is shown.txt\n"


# -- network ------------------------------------------------------------------------------------


def test_only_the_own_loopback_network_is_there(own_room: Room) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.sendall(b"x"); say(server.accept()[0].recv(1).decode())
say(outcome(socket.create_connection, ("192.0.2.1", 80))[1])
say(outcome(socket.getaddrinfo, "example.org", 80)[0])
say([line.split(":")[0].strip() for line in open("/proc/net/route").readlines()[1:]])
say(outcome(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)[0])
say(socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4][0])
"""
    loop, connected, resolved, routes, netlink, localhost = own_room.run(code).said
    assert (loop, connected, resolved, routes, netlink) == ("x", 101, "gaierror", [], "OSError")
    assert localhost == "127.0.0.1"


@pytest.mark.parametrize("variant", LANDLOCK, ids=lambda variant: variant.name)
def test_there_are_no_sockets_of_the_network_by_landlock(variant: Variant) -> None:
    code = """
import socket
families = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
say([outcome(socket.socket, family)[0] for family in families])
left, right = socket.socketpair(); left.sendall(b"x"); say(right.recv(1).decode())
"""
    for room in open_room(variant):
        sockets, pair = room.run(code).said
        assert sockets[:2] == ["OSError", "OSError"]
        assert (sockets[2] == "done") == variant.is_root
        assert pair == "x"


def test_only_everyday_protocols_are_left(own_room: Room) -> None:
    code = """
import socket
everyday = (1, 0), (1, 6), (2, 0), (2, 17)
say([outcome(socket.socket, socket.AF_INET, *kind)[0] for kind in everyday])
udp_lite, mptcp, sctp = (2, 136), (1, 262), (1, 132)
say([outcome(socket.socket, socket.AF_INET, *kind)[1] for kind in (udp_lite, mptcp, sctp)])
"""
    everyday, odd = own_room.run(code).said
    assert everyday == ["done"] * 4
    assert odd == [93] * 3  # EPROTONOSUPPORT


def test_the_network_is_left_when_it_is_allowed(own_room: Room) -> None:
    outside = {path.name for path in Path("/sys/class/net").iterdir() if path.is_dir()}
    code = 'say([line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line])'
    assert set(own_room.run(code, allow_network=True).only) == outside


# -- processes ----------------------------------------------------------------------------------


def test_only_own_processes_are_seen(own_room: Room) -> None:
    code = 'say([[n for n in os.listdir("/proc") if n.isdigit()], str(os.getpid()), os.getppid()])'
    pids, own, above = own_room.run(code).only
    assert (pids, above) == ([own], 1)


def test_processes_outside_cannot_be_ended(room: Room, presence: Presence) -> None:
    code = """
import signal
if TARGET != os.getpid():
    outcome(os.kill, TARGET, signal.SIGKILL)
say(outcome(os.kill, -1, signal.SIGCONT)[0])
say(outcome(os.kill, TARGET, 0)[0])
"""
    sleeper = "import os, sys, time; os.write(int(sys.argv[1]), b'up\\n'); time.sleep(600)"
    target = subprocess.Popen(
        [room.variant.interpreter(), "-I", "-c", sleeper, str(presence.fd)],
        pass_fds=[presence.fd], cwd="/", **room.variant.caller(),
    )  # fmt: skip
    try:
        presence.wait_for_lines(1)
        *_, reached = room.run(code.replace("TARGET", str(target.pid))).said
        assert reached in ("ProcessLookupError", "PermissionError")
        assert target.poll() is None
    finally:
        target.kill()
        target.wait(PATIENCE_SECONDS)


DANGEROUS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    return [name, getattr(libc, name)(*arguments), ctypes.get_errno()]
def number(x86_64, aarch64, *arguments):
    ctypes.set_errno(0)
    code = x86_64 if os.uname().machine == "x86_64" else aarch64
    return [x86_64, libc.syscall(ctypes.c_long(code), *arguments), ctypes.get_errno()]
say([
    call("ptrace", 16, os.getppid(), None, None), call("ptrace", 0, 0, None, None),
    call("unshare", 0x10000000), call("unshare", 0x20000), call("setns", 0, 0),
    call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None), call("umount2", b"/proc", 2),
    call("chroot", b"/"), number(155, 41, b".", b"."), number(428, 428, -100, b"/", 1),
    call("process_vm_readv", os.getppid(), None, 0, None, 0, 0),
    number(250, 219, 0, 0), number(248, 217, b"user", b"x", b"x", 1, -3),
    number(321, 280, 0, None, 0), number(298, 241, None, 0, -1, -1, 0), number(425, 425, 1, None),
    number(323, 282, 0), number(304, 265, 0, None, 0), number(438, 438, 0, 0, 0),
    number(56, 220, 0x10000000 | 17, None, None, None, None),
    number(302, 261, os.getppid(), 0, None, None),
    number(319, 279, b"x", 0), number(29, 194, 0, 4096, 0o1600), number(68, 186, 0, 0o1600),
])
say(number(435, 435, None, 0))
"""


def test_calls_that_reach_outside_are_refused(room: Room) -> None:
    calls, clone3 = room.run(DANGEROUS).said
    assert [call for call in calls if call[1:] != [-1, 1]] == []
    assert clone3[1:] == [-1, 38]


def test_nothing_is_gained_by_identity_or_programs(room: Room) -> None:
    code = """
import subprocess
lines = open("/proc/self/status").readlines()
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in lines if ":\\t" in line)
say(status); say([os.getresuid(), os.getresgid(), os.getgroups()])
su = subprocess.run(["/usr/bin/su", "-c", "id"], capture_output=True)
say([os.path.exists("/usr/bin/su"), su.returncode])
say(outcome(os.setuid, 0)[0]); say(outcome(os.setgroups, [0])[0])
import shutil
say(os.statvfs("/usr").f_flag & os.ST_NOSUID)
"""
    status, identity, su, became, joined, no_setuid = room.run(code).said
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    uid = NOBODY if os.geteuid() == 0 else os.getuid()
    assert identity[0] == [uid] * 3
    if os.geteuid() == 0:
        assert identity[1:] == [[NOBODY] * 3, []]
        assert int(status["CapBnd"], 16) == 0 or not room.variant.is_root
    assert su[1] != 0
    assert {became, joined} <= {"PermissionError", "OSError"}  # not allowed, or not in the map
    assert no_setuid or room.variant.level == "landlock"


def test_the_interpreter_outside_cannot_be_changed_by_its_owner() -> None:
    code = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from evaluation import interpreter
interpreter.protect(None)
path = "/proc/self/exe"
wishes = [lambda: os.chmod(path, 0o700), lambda: os.utime(path, (1, 1)),
          lambda: os.setxattr(path, "user.word", b"x"), lambda: os.open(path, os.O_WRONLY)]
found = []
for wish in wishes:
    try:
        found.append(repr(wish()))
    except OSError as error:
        found.append(error.strerror)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([found, sys.argv[2], int(status["CapEff"], 16), os.getuid()]))
"""
    for room in open_room(Variant("namespaces", is_root=False)):
        python = room.path / "python"
        shutil.copy(room.variant.interpreter(), python)
        uid = NOBODY if os.geteuid() == 0 else os.getuid()
        os.chown(python, uid, -1)
        python.chmod(0o755)
        command = [str(python), "-I", "-c", code, str(room.path), "an argument"]
        said = subprocess.check_output(command, cwd="/", **room.variant.caller())
        outcomes, argument, capabilities, who = json.loads(said)
        assert set(outcomes) <= {"Read-only file system", "Text file busy"}
        assert (argument, capabilities, who) == ("an argument", 0, uid)
        assert python.stat().st_mode & 0o777 == 0o755


def test_the_core_pattern_cannot_be_written(room: Room) -> None:
    code = 'say(outcome(open, "/proc/sys/kernel/core_pattern", "w")[0])'
    assert room.run(code).only in ("OSError", "PermissionError")


def test_only_wanted_descriptors_are_inherited(room: Room) -> None:
    code = """
found = []
for number in range(1024):
    try: found.append([number, os.readlink("/proc/self/fd/%d" % number)])
    except OSError: pass
say(found)
"""
    found = room.run(code).only
    assert {number for number, _ in found} >= {0, 1, 2}
    assert len(found) == 5
    assert all(name.startswith(("pipe:", "/dev/null")) for _, name in found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_device_nodes_that_are_given_are_opened_and_no_others(room: Room) -> None:
    folder = room.path / "dev"
    folder.mkdir(mode=0o755)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):  # stand-ins: each is like /dev/null
        os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (folder / name).chmod(0o666)
    code = """
import threading
said = {name: outcome(lambda: open(ROOM + "/dev/" + name, "r+b", buffering=0).write(b"x"))[0]
        for name in ("nvidia0", "nvidia1", "nvidiactl")}
own = "/proc/self/task/%d/comm" % threading.get_native_id()
said["own"] = outcome(lambda: open(own, "w").write("cuda"))[0]
for name in ("sys/kernel/core_pattern", "sys/vm/overcommit_memory", "1/comm", "sysrq-trigger"):
    said[name] = outcome(lambda: open("/proc/" + name, "w").write("0"))[0]
say(said)
"""
    given = [str(folder / "nvidia0"), str(folder / "nvidiactl")]
    said = room.run(code, devices=given).only
    assert {name for name, how in said.items() if how == "done"} == {"nvidia0", "nvidiactl", "own"}


def test_nothing_in_proc_is_written_without_devices(own_room: Room) -> None:
    code = "say(outcome(lambda: open('/proc/self/comm', 'w').write('x'))[0])"
    assert own_room.run(code).only != "done"


def test_the_environment_of_the_engine_is_nowhere(own_room: Room) -> None:
    code = 'say([outcome(lambda: open("/proc/%s/environ" % pid).read()) for pid in (1, 2, 3)])'
    outcomes = own_room.run("import os\nos.environ.clear()\n" + code).only
    assert outcomes[0][0] in ("FileNotFoundError", "PermissionError")


def test_limits_hold(room: Room) -> None:
    code = """
import resource
say([resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in ("NOFILE", "FSIZE", "CORE")])
say(outcome(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (1, 1))[0])
"""
    limits = {"NOFILE": 100, "FSIZE": 1 << 20, "CORE": 0}
    got, of_others = room.run(code, rlimits=limits).said
    assert got == [[100, 100], [1 << 20, 1 << 20], [0, 0]]
    assert of_others in ("PermissionError", "ProcessLookupError")


def test_the_limit_of_processes_counts_one_fold_alone(own_room: Room) -> None:
    code = """
import time
started = 0
try:
    while started < 50:
        if os.fork() == 0:
            time.sleep(600)
        started += 1
except BlockingIOError:
    pass
say(started)
"""
    above = 0 if own_room.variant.is_root else 2  # those of the same user and namespace
    assert own_room.run(code, rlimits={"NPROC": 20}).only == 19 - above


# -- what honest code needs ---------------------------------------------------------------------

HONEST = {
    "threads": "from joblib import *; "
    "say(Parallel(2, backend='threading')(delayed(abs)(-i) for i in range(4)))",
    "loky": "from joblib import *; say(Parallel(2)(delayed(abs)(-i) for i in range(4)))",
    "fork": "import multiprocessing as m; "
    "say(m.get_context('fork').Pool(2).map(abs, [0, -1, -2, -3]))",
    "spawn": "import multiprocessing as m; "
    "say(m.get_context('spawn').Pool(2).map(abs, [0, -1, -2, -3]))",
    "tempfile": "import tempfile; f = tempfile.TemporaryFile(); f.write(bytes(range(4))); "
    "f.seek(0); say(list(f.read()))",
    "subprocess": "import subprocess; "
    "say([int(n) for n in subprocess.check_output(['seq', '0', '3']).split()])",
    "memmap": "import joblib, numpy; joblib.dump(numpy.arange(4), ROOM + '/write/a'); "
    "say(joblib.load(ROOM + '/write/a', mmap_mode='r').tolist())",
}


@pytest.mark.parametrize("what", HONEST)
def test_parallel_work_and_temporary_files_work(room: Room, what: str) -> None:
    answer = room.run(HONEST[what])
    assert answer.said == [[0, 1, 2, 3]], answer.errors
    assert answer.status == 0


def test_scikit_learn_works_in_parallel_and_with_openmp(room: Room) -> None:
    code = """
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
X, y = np.arange(200.0).reshape(-1, 1), np.arange(200) > 99
models = [RandomForestClassifier(10, n_jobs=2, random_state=0)]
models += [HistGradientBoostingClassifier(max_iter=5)]
say([model.fit(X, y).score(X, y) for model in models])
"""
    answer = room.run(code)
    assert min(answer.only) > 0.9, answer.errors


def test_matplotlib_draws(room: Room) -> None:
    code = """
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.savefig(ROOM + "/write/figure.png")
say(os.path.getsize(ROOM + "/write/figure.png"))
"""
    assert room.run(code).only > 1000


# -- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 71, 255])
def test_the_exit_code_arrives(room: Room, code: int) -> None:
    answer = room.run(f"os._exit({code})")
    assert answer.status == code << 8
    assert answer.told == (code << 8 if room.variant.level == "namespaces" else 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGXFSZ])
def test_the_signal_arrives(room: Room, number: int) -> None:
    code = f"import signal\nif {number} != 9: signal.signal({number}, 0)\n"
    code += f"os.kill(os.getpid(), {number})"
    answer = room.run(code, rlimits={"CORE": 0})
    assert answer.status == number
    assert answer.told == (number if room.variant.level == "namespaces" else 0)


BROOD = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(FD, b"daemon\\n")
    time.sleep(600)
os.wait()
os.write(FD, b"up\\n")
"""


def test_a_daemon_ends_with_the_fold(own_room: Room, presence: Presence) -> None:
    code = BROOD.replace("FD", str(presence.fd)) + "os.close(tell); os._exit(5)"
    process = own_room.start(code, keep=(presence.fd,))
    try:
        presence.wait_for_end()
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert json.loads(out.splitlines()[-1]) == [5 << 8, 5 << 8]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("victim", ["the forked process", "the parent"])
def test_everything_ends_when_something_above_is_killed(
    own_room: Room, presence: Presence, victim: str
) -> None:
    code = BROOD.replace("FD", str(presence.fd)) + "time.sleep(600)"
    process = own_room.start(code, keep=(presence.fd,))
    try:
        assert process.stdout is not None
        forked = int(process.stdout.readline())
        presence.wait_for_lines(2)
        os.kill(forked if victim == "the forked process" else process.pid, signal.SIGKILL)
        presence.wait_for_end()
    finally:
        process.kill()
        process.communicate()


# -- refusals -----------------------------------------------------------------------------------

PLANS: list[tuple[dict[str, Any], str]] = [
    ({"read": ["/nowhere"]}, "No such file"),
    ({"write": ["/nowhere/at/all"]}, "No such file"),
    ({"read": ["/"]}, "root of the file system"),
    ({"uid": 0, "gid": 0}, "as root"),
]


@pytest.mark.parametrize(("changes", "reason"), PLANS)
def test_a_plan_that_cannot_hold_is_refused_and_nothing_runs(
    own_room: Room, changes: dict[str, Any], reason: str
) -> None:
    if "uid" in changes and not own_room.variant.is_root:
        reason = "only root can become user 0"
    answer = own_room.run("say('running')", **changes)
    assert (answer.said, answer.status, answer.told) == ([], 70 << 8, 0)
    assert reason in answer.errors.splitlines()[-1]


WAIT_LATE = """
import os, socket
from ramp_engine.evaluation import namespaces, privileges
ours, theirs = socket.socketpair()
pid = os.fork()
if pid == 0:
    os._exit(70)  # as a pid 1 that was refused something does
theirs.close()
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
privileges.reset_signals()
namespaces._wait_for(pid, ours)
"""


def test_who_waits_for_a_pid_1_that_is_gone_already_ends_as_it_has() -> None:
    done = subprocess.run([sys.executable, "-c", WAIT_LATE], check=False)
    assert done.returncode == 70


def probe(python: str, prelude: str, *options: str) -> Any:
    """Run the probe as a file, after a prelude in the same process."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for file in PACKAGE.glob("*.py"):
            Path(folder, file.name).write_bytes(file.read_bytes())
        code = f"import os, sys\n{prelude}\n"
        code += "os.execv(sys.executable, [sys.executable, '-I', '-S', *sys.argv[1:]])"
        command = [python, "-I", "-c", code, f"{folder}/confine.py", "probe", *options]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IDENTITY = ["--uid", str(NOBODY), "--gid", str(NOBODY)] if os.geteuid() == 0 else []


def test_the_probe_falls_to_landlock_where_a_filter_refuses_namespaces() -> None:
    found = probe(str(open_python()), filtering({UNSHARE: 1}), *IDENTITY)
    assert found["level"] == "landlock"
    (refused,) = found["refused"]
    assert refused["level"] == "namespaces"
    assert "cannot make namespaces: Operation not permitted" in refused["reason"]
    assert "seccomp" in refused["hint"]


def test_the_probe_falls_to_none_where_landlock_is_refused_as_well() -> None:
    found = probe(str(open_python()), filtering({UNSHARE: 1, CREATE_RULESET: 38}), *IDENTITY)
    assert found["level"] == "none"
    assert [entry["level"] for entry in found["refused"]] == ["namespaces", "landlock"]
    assert "Landlock" in found["refused"][1]["reason"]
    assert "lsm=" in found["refused"][1]["hint"]


def test_the_probe_names_the_setting_that_allows_no_user_namespaces() -> None:
    prelude = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    libc.prctl(4, 1, 0, 0, 0)
uid, gid = os.getuid(), os.getgid()
if libc.unshare(0x10000000):
    print("null"); sys.stdout.flush(); os._exit(0)
maps = ("uid_map", f"{{uid}} {{uid}} 1"), ("gid_map", f"{{gid}} {{gid}} 1")
for name, text in (("setgroups", "deny"), *maps):
    with open("/proc/self/" + name, "w") as file: file.write(text)
with open("/proc/sys/user/max_user_namespaces", "w") as file: file.write("0")
"""
    found = probe(str(open_python()), prelude)
    if found is None:
        pytest.skip("this machine allows no user namespaces to begin with")
    assert found["level"] == "landlock"
    assert "sysctl user.max_user_namespaces" in found["refused"][0]["hint"]
