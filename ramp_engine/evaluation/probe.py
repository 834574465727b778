"""Find out by trying which confinement a machine really offers."""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn, Optional

from .confine import enter
from .plan import Confinement, ConfinementError

_TRIED = ("namespaces", "landlock")
_EXIT_TOLD = 71


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Print as JSON the strongest level that works and why the stronger ones do not.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: the command line's.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="confine.py", allow_abbrev=False)
    parser.add_argument("command", choices=["probe"])
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    options = parser.parse_args(arguments)
    print(json.dumps(find_level(options.uid, options.gid)))
    return 0


def find_level(uid: Optional[int] = None, gid: Optional[int] = None) -> dict[str, Any]:
    """Try the levels, strongest first.

    Parameters
    ----------
    uid, gid : int, optional
        To become when the caller is root.

    Returns
    -------
    dict
        ``level``, and ``refused``: for each stronger level ``level``, ``reason``, ``hint``.
    """
    refused: list[dict[str, str]] = []
    for level in _TRIED:
        refusal = _try(Confinement(level=level, uid=uid, gid=gid, read=_interpreter(), tmp_mb=1))
        if refusal is None:
            return {"level": level, "refused": refused}
        refused.append({"level": level, "reason": refusal.message, "hint": refusal.hint})
    return {"level": "none", "refused": refused}


def _interpreter() -> list[str]:
    """Return the folders of this interpreter: it imports even while it tries."""
    return sorted({sys.prefix, sys.base_prefix, os.path.dirname(os.path.abspath(__file__))})  # noqa: PTH100, PTH120


def _try(plan: Confinement) -> Optional[ConfinementError]:
    """Confine a process and have it try what it must not; return what went wrong."""
    with tempfile.NamedTemporaryFile(prefix="ramp-probe-") as secret, _listen() as server:
        os.chmod(secret.name, 0o644)  # noqa: PTH101 (permissions are not what must keep it)
        reader, writer = os.pipe()
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.close(reader)
            outside = secret.name, server.getsockname()[1]
            _attempt(plan, theirs.detach(), writer, outside)
        os.close(writer)
        theirs.close()
        with open(reader, "rb") as pipe:  # noqa: PTH123 (a descriptor)
            answer = pipe.read()
        ours.close()
        os.waitpid(pid, 0)
    return _refusal(answer)


def _listen() -> socket.socket:
    """Open a server on the machine's loopback."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def _refusal(answer: bytes) -> Optional[ConfinementError]:
    """Read what the confined process said: P's own words, or those of one that came before it."""
    try:
        told = json.loads(answer)
    except ValueError:
        return ConfinementError("the confined process ended without a word")
    return ConfinementError(told["reason"], told["hint"]) if told else None


def _attempt(plan: Confinement, control: int, report: int, outside: tuple[str, int]) -> NoReturn:
    told: dict[str, str] = {}
    try:
        enter(plan, control, os.open(os.devnull, os.O_WRONLY), keep=[report])
        held = _faults(plan, *outside)
        if held:
            told = {"reason": f"what was confined could {', '.join(held)}", "hint": ""}
    except ConfinementError as error:
        told = {"reason": error.message, "hint": error.hint}
    except BaseException as error:  # noqa: BLE001 (the outermost frame of a process)
        told = {"reason": f"{type(error).__name__}: {error}", "hint": ""}
    finally:
        os.write(report, json.dumps(told).encode())
        os._exit(_EXIT_TOLD)


def _faults(plan: Confinement, secret: str, port: int) -> list[str]:
    """Return what is possible and must not be."""
    checks = {
        "read a foreign file": _can_read(secret),
        "reach the network": _can_reach(port),
        "trace processes": _can_trace(),
        "be root or gain privileges": _is_privileged(),
        "see processes of others": plan.level == "namespaces" and _sees_others(),
    }
    return [doing for doing, is_possible in checks.items() if is_possible]


def _can_read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def _can_reach(port: int) -> bool:
    """Tell whether a server on the machine's loopback, or anybody else, can be reached."""
    addresses = ((socket.SOCK_STREAM, port, "127.0.0.1"), (socket.SOCK_DGRAM, 9, "192.0.2.1"))
    return any(_can_connect(kind, host, port) for kind, port, host in addresses)


def _can_connect(kind: int, host: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, kind) as client:
            client.connect((host, port))  # of a datagram socket: only looks for a route
    except OSError:
        return False
    return True


def _can_trace() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return not (libc.ptrace(0, 0, None, None) == -1 and ctypes.get_errno() == errno.EPERM)


def _is_privileged() -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    held = any(int(status[name], 16) for name in ("CapPrm", "CapEff"))
    return held or status["NoNewPrivs"] != "1" or os.getuid() == 0


def _sees_others() -> bool:
    own = {1, os.getpid()}
    return any(int(name) not in own for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
