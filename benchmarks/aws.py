"""Measure what instances of EC2 cost the dispatcher: calls of AWS, SSH commands, its own process.

::

    python -m benchmarks.aws [--json FILE] [--instances 50] [--turn 10] [--turns 6]

The cloud is moto's server, and each instance an sshd of its own at an address of loopback, on this
machine. Submissions of iris train one after another on a new instance and on a warm one. Then as
many instances as asked for run at once, whose folds sleep: on each, the engine's program, keeper
and supervisor are the real ones, and only the event's interpreter is a stand-in. The baseline of
their cost is the same dispatcher before the first of them, that of a poll the same instances
before one of them hangs, stopped by a signal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import select

from benchmarks.deployed import Deployed, deployed
from benchmarks.process_memory import pss
from ramp_database.model import Attempt
from ramp_database.states import FINAL, State
from tests.aws.cloud import Cloud, running_cloud
from tests.aws.farm import Farm, running_farm
from tests.aws.fault_proxy import Rule, Times

DESCRIBE = "DescribeInstances"
#: Aims. A turn may come a little early: so much more than one a turn counts as one.
MOST_A_TURN, MOST_TIMES_SLOWER = 1.05, 1.2
#: Of all instances together, at most: starting them takes a machine with few cores some minutes.
START_SECONDS = 900.0
IDLE_SECONDS = 20.0

#: In place of a login's shell: notes when it was asked for what.
SHELL = """\
#!/bin/bash
printf '%s %s\\n' "$EPOCHREALTIME" "${2##* }" >> "$HOME/commands"
exec /bin/sh "$@"
"""
#: In place of the event's interpreter: has the packages, and folds that sleep.
SLEEPER = """\
#!/bin/sh
case "$2" in -c) echo '3 12'; exit;; esac
case "$3" in fold) exec sleep 86400;; esac
exec %s "$@"
"""


@dataclass(frozen=True)
class Site:
    """The event, the cloud, and the machines of its instances."""

    deployment: Deployed
    cloud: Cloud
    farm: Farm
    asked: list[tuple[float, str]]  #: of EC2: when, and what

    def configure(self, turn_seconds: float, n_workers: int, python: str) -> None:
        """Write the event's file."""
        keys = self.farm.keys() | {"python": python, "key_path": str(self.farm.login.key_path)}
        sections = {
            "ramp": {"problem_name": "iris", "event_name": "iris"},
            "worker": {"worker_type": "aws", **keys},
            "evaluation": {"python": sys.executable},
            "dispatcher": {"n_workers": n_workers, "time_between_collection": turn_seconds},
        }
        self.deployment.config.write_text(json.dumps(sections))  # which is YAML as well

    def commands(self, instance_id: str) -> list[tuple[float, str]]:
        """Give what was asked for on an instance: when, and the last word of the command."""
        with contextlib.suppress(FileNotFoundError):
            path = self.farm.machines[instance_id].home / "commands"
            lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
            return [(float(moment), word) for moment, word in lines]
        return []

    def sessions(self) -> Counter[str]:
        """Count what was asked of all instances so far by SSH."""
        found: Counter[str] = Counter()
        for instance_id, machine in self.farm.machines.items():
            for _, word in self.commands(instance_id):
                found["SFTP sessions" if word.endswith("sftp-server") else "SSH commands"] += 1
            found["SSH connections"] += machine.log.count("Accepted publickey")
        return found


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Deploy iris beside a cloud; nothing of it is left."""
    asked: list[tuple[float, str]] = []
    with contextlib.ExitStack() as stack:
        deployment = stack.enter_context(deployed("iris"))
        cloud = stack.enter_context(running_cloud())
        stack.enter_context(mock.patch.dict(os.environ, cloud.environment()))
        cloud.reset()
        farm = stack.enter_context(running_farm(cloud))
        shell = deployment.root / "shell"
        shell.write_text(SHELL)
        shell.chmod(0o755)
        farm.environment["SHELL"] = str(shell)

        def note(_service: str, params: Mapping[str, str]) -> None:
            asked.append((time.time(), params.get("Action", "")))

        cloud.proxy.add(Rule("*", Times(None), before=note))
        yield Site(deployment, cloud, farm, asked)


def wait(is_so: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise RuntimeError(f"never came: {what}")
        time.sleep(0.2)


# A submission


def submissions(place: Site) -> dict[str, Any]:
    """Count what one submission takes: on a new instance, and on the same one warm."""
    place.configure(1.0, 1, sys.executable)
    found: dict[str, Any] = {}
    with place.deployment.dispatching():
        for name in ("new", "warm", "warm again"):
            n_asked, before = len(place.asked), place.sessions()
            (number,) = place.deployment.submit([name.replace(" ", "_")])
            place.deployment.wait_scored([number])
            wait(lambda: _is_clean(place), "the wiping of the instance")
            calls = Counter(action for _, action in place.asked[n_asked:])
            attempt = _attempt(place, number)
            assert attempt.started_at is not None
            found[name] = {
                "claim to start, s": (attempt.started_at - attempt.claimed_at).total_seconds(),
                "EC2 calls": dict(calls),
                "EC2 calls beyond descriptions": calls.total() - calls[DESCRIBE],
                **(place.sessions() - before),
            }
    return found


def _attempt(place: Site, number: int) -> Attempt:
    with place.deployment.database.session(read_only=True) as session:
        query = select(Attempt).where(Attempt.submission_id == number)
        return session.scalars(query).one()


def _is_clean(place: Site) -> bool:
    runs = [machine.home / ".ramp" / "runs" for machine in place.farm.machines.values()]
    return not any(any(folder.iterdir()) for folder in runs if folder.exists())


# Many instances


def _all_train(deployment: Deployed, numbers: list[int]) -> bool:
    states = deployment.states(numbers)
    if states & FINAL:
        raise RuntimeError((deployment.root / "log").read_text()[-2000:])
    return states == {State.TRAINING}


def many(place: Site, n_instances: int, turn_seconds: float, n_turns: int) -> dict[str, Any]:
    """Have so many instances run, and look at calls, commands and the dispatcher's process."""
    sleeper = place.deployment.root / "python"
    sleeper.write_text(SLEEPER % shlex.quote(sys.executable))
    sleeper.chmod(0o755)
    place.configure(turn_seconds, n_instances, str(sleeper))
    window = turn_seconds * n_turns
    past = set(place.farm.machines)
    with place.deployment.dispatching() as pid:
        try:
            time.sleep(IDLE_SECONDS)
            idle = Process.over(pid, IDLE_SECONDS)
            numbers = place.deployment.submit([f"many_{i}" for i in range(n_instances)])
            began_at = time.monotonic()
            wait(lambda: _all_train(place.deployment, numbers), "all instances")
            start_seconds = time.monotonic() - began_at
            time.sleep(2 * turn_seconds)  # what came with the starts is over
            ids = sorted(place.cloud.ids(["running"]) - past)
            since = time.time()
            busy = Process.over(pid, window)
            calm = _gaps(place, ids, since)
            describes = [at for at, what in place.asked if what == DESCRIBE and at >= since]
            others = [at for at, what in place.asked if what != DESCRIBE and at >= since]
            place.farm.machines[ids[0]].freeze()
            since = time.time()
            try:
                time.sleep(window)
                hung = _gaps(place, ids[1:], since)
            finally:
                place.farm.machines[ids[0]].thaw()
        finally:
            os.kill(pid, signal.SIGKILL)  # nothing of what sleeps has to be collected
    return {
        "instances": n_instances,
        "turn, s": turn_seconds,
        "all of them started, s": start_seconds,
        "descriptions a turn": turn_seconds / statistics.mean(_between(describes)),
        "other EC2 calls": len(others),
        "SSH commands an instance and turn, most": turn_seconds / min(map(statistics.mean, calm)),
        "seconds between polls, median": _median(calm),
        "the same while one hangs": _median(hung),
        "longest between polls, s": max(map(max, calm)),
        "the same of the others while one hangs, s": max(map(max, hung)),
        "dispatcher, idle": asdict(idle),
        "dispatcher, busy": asdict(busy),
        "CPU ms a poll": 1e3 * (busy.share - idle.share) * turn_seconds / n_instances,
        "memory an instance, MB": (busy.megabytes - idle.megabytes) / n_instances,
    }


@dataclass(frozen=True)
class Process:
    """What the dispatcher's own process takes."""

    share: float  #: of a core
    megabytes: float
    threads: int

    @classmethod
    def over(cls, pid: int, seconds: float) -> Process:
        """Look at a process for so long."""
        before, began_at = _cpu(pid), time.monotonic()
        time.sleep(seconds)
        share = (_cpu(pid) - before) / (time.monotonic() - began_at)
        return cls(share, pss(pid), len(list(Path(f"/proc/{pid}/task").iterdir())))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _gaps(place: Site, ids: list[str], since: float) -> list[list[float]]:
    """Give the seconds between the commands on each instance."""
    return [
        _between([at for at, _ in place.commands(instance_id) if at >= since])
        for instance_id in ids
    ]


def _between(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def _median(gaps: list[list[float]]) -> float:
    return statistics.median(seconds for one in gaps for seconds in one)


# The whole


def aims(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hold the figures against what they should be."""
    slower = found["the same while one hangs"] / found["seconds between polls, median"]
    describes = found["descriptions a turn"]
    commands = found["SSH commands an instance and turn, most"]
    return [
        _aim("calls of EC2 a turn for all instances", describes, MOST_A_TURN),
        _aim("SSH commands an instance and turn", commands, MOST_A_TURN),
        _aim("one hangs: x as long between polls of the others", slower, MOST_TIMES_SLOWER),
    ]


def _aim(title: str, figure: float, limit: float) -> dict[str, Any]:
    return {"aim": title, "at most": limit, "figure": figure, "is_met": figure <= limit}


def print_figures(figures: Mapping[str, Any]) -> None:
    for name, one in figures["submissions"].items():
        told = ", ".join(f"{key}: {value}" for key, value in one.items())
        print(f"a submission, {name} instance: {told}")
    for key, value in figures["many"].items():
        print(f"{key:45} {value:.3f}" if isinstance(value, float) else f"{key:45} {value}")
    for aim in figures["aims"]:
        word = "met" if aim["is_met"] else "MISSED"
        print(f"{aim['aim']}: {aim['figure']:.2f}, at most {aim['at most']:g}: {word}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--turn", type=float, default=10.0, help="Seconds between two polls.")
    parser.add_argument("--turns", type=int, default=6, help="So many are looked at.")
    options = parser.parse_args()
    with site() as place:
        figures: dict[str, Any] = {"submissions": submissions(place)}
        figures["many"] = many(place, options.instances, options.turn, options.turns)
    figures["aims"] = aims(figures["many"])
    print_figures(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
