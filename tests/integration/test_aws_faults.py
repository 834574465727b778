"""What befalls submissions on EC2: what becomes of them, what is told, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_database import history, queue
from ramp_database.states import State
from ramp_engine.narrative import tell
from ramp_engine.testing.ssh_server import can_mount, requires_sshd
from tests.aws.cloud import GROUP, IMAGE, KEY, Cloud
from tests.aws.farm import Farm, running_farm
from tests.aws.imds import Imds, running_imds
from tests.aws.puppeteer import Puppeteer
from tests.integration.dispatching import Witness, wait_for
from tests.integration.on_cluster import ClusterEvent, cluster_event

pytestmark = requires_sshd

#: An estimator that needs no time.
_QUICK = """
from nearest import NearestMean

def get_estimator():
    return NearestMean()
"""

#: Fills the disk, and ends as if it were the system's fault.
_FILLING = """
import os, pathlib
from nearest import NearestMean

class Filling(NearestMean):
    def fit(self, X, y):
        try:
            home = next(one for one in pathlib.Path.cwd().parents if one.name == ".ramp")
            (home / "filling").write_bytes(bytes(1 << 26))
        except OSError:
            os._exit(70)

def get_estimator():
    return Filling()
"""

#: Prints a hundred megabytes.
_LOUD = """
import os
from nearest import NearestMean

class Loud(NearestMean):
    def fit(self, X, y):
        line = b"x" * 99 + b"\\n"
        for _ in range(1000):
            os.write(1, line * 1000)
        return super().fit(X, y)

def get_estimator():
    return Loud()
"""


class Faulty:
    """An event on a cloud where everything may go wrong.

    Parameters
    ----------
    event : ClusterEvent
    farm : Farm
    puppeteer : Puppeteer
        Of all machines.
    imds : Imds
        What all machines are told of the market.
    """

    def __init__(self, event: ClusterEvent, farm: Farm, puppeteer: Puppeteer, imds: Imds) -> None:
        self.event, self.farm, self.cloud = event, farm, farm.cloud
        self.puppeteer, self.imds = puppeteer, imds

    @contextmanager
    def dispatching(self, **worker: Any) -> Iterator[Witness]:
        """Dispatch with other keys of the worker; at the end all promises hold."""
        event = self.event
        before = {key: event._config["worker"].get(key) for key in worker}
        event.configure(**worker)
        try:
            with event.dispatching() as witness:
                try:
                    yield witness
                finally:
                    event.cancel_rest()
                    self.puppeteer.rest()
            event.check()
            assert self.cloud.ids() == set()  # nobody is left to pay for anything
            assert not any(list(one.directory.glob("home/.ramp/runs/*")) for one in self.running)
        finally:
            event.configure(**before)
            self.reset()

    @property
    def running(self) -> list[Any]:
        return [self.farm.machines[one] for one in self.cloud.ids(["running"])]

    def reset(self) -> None:
        self.farm.options.clear()
        self.farm.is_starting = True
        self.cloud.start_slowly()
        self.imds.withdraw()
        self.puppeteer.rest()

    def await_attempt(self, number: int, n_ended: int = 1) -> None:
        """Wait until so many attempts have come to their end."""

        def has_ended() -> bool:
            return sum(one.outcome is not None for one in self.event.attempts(number)) >= n_ended

        assert wait_for(has_ended), self.explain(number)

    def explain(self, number: int) -> str:
        """Give what `ramp explain` says."""
        with self.event.database.session(read_only=True) as session:
            told = tell(history.read(session, number))
        return "\n".join(
            [told.headline, *(f"{one.what} {one.why}" for one in told.steps), *told.next]
        )

    def cancel(self, number: int) -> None:
        with self.event.database.session() as session:
            queue.cancel(session, number, "not wanted any more")

    def assert_uncounted(self, number: int, *words: str) -> None:
        """See that an attempt was interrupted, counts for nothing, and that people are told."""
        self.await_attempt(number)
        found, [attempt, *_] = self.event.row(number), self.event.attempts(number)
        assert attempt.outcome == "interrupted", attempt.error
        assert (found.n_crashes, found.n_interruptions) == (0, 1)
        self.assert_told(number, words)

    def assert_counted(self, number: int, *words: str) -> None:
        """See that the only attempt there may be was spent, for no fault of the participant's."""
        self.await_attempt(number)
        found, [attempt] = self.event.row(number), self.event.attempts(number)
        assert attempt.outcome == "crashed", attempt.error
        assert (found.state, found.n_crashes) == (State.CHECKING_ERROR, 1)
        self.assert_told(number, words)

    def assert_told(self, number: int, words: tuple[str, ...]) -> None:
        told = self.explain(number)
        assert all(word in told for word in words), told

    def assert_scored(self, number: int, *outcomes: str) -> None:
        assert self.event.await_scored(number) == list(outcomes), self.explain(number)

    def await_no_instance(self) -> None:
        assert wait_for(lambda: not self.cloud.ids()), self.cloud.ids()


@pytest.fixture  # a cloud and machines for each: what one test breaks is no other's affair
def faulty(cloud_server: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with pytest.MonkeyPatch.context() as patch, running_imds() as imds:
        for key, value in cloud_server.environment().items():
            patch.setenv(key, value)
        cloud_server.reset()
        puppeteer = Puppeteer(tmp_path_factory.mktemp("puppeteer"))
        with running_farm(cloud_server) as farm:
            farm.environment |= puppeteer.environment | {"RAMP_INSTANCE_METADATA": imds.url}
            keys = farm.keys(worker_type="aws", node_dir=None)
            keys |= {"key_path": str(keys["key_path"]), "patience_seconds": 3}
            keys |= {"instance_type": ["t3.large", "m5.large"]}
            limits = {"max_attempts": 1, "stale_after_seconds": 600.0}
            with cluster_event("aws_faults", keys, dispatcher=limits) as event:
                yield Faulty(event, farm, puppeteer, imds)


def test_an_instance_that_is_not_to_be_had_costs_no_attempt_and_is_asked_for_again(
    faulty: Faulty,
) -> None:
    cloud = faulty.cloud
    spot = {"use_spot_instance": True, "on_demand_fallback": True, "spot_timeout": 0}
    refusals = [
        ("InsufficientInstanceCapacity", 400, ["AWS has no room for t3.large", "m5.large"]),
        ("RequestLimitExceeded", 503, ["AWS throttles us (ec2:RunInstances)"]),
        ("ServiceUnavailable", 503, ["AWS has a problem of its own"]),
    ]
    with faulty.dispatching(**spot):
        for code, status, words in refusals:
            rule = cloud.refuse("RunInstances", code, status=status)
            number = faulty.event.submit(_QUICK)
            faulty.assert_uncounted(number, *words, "waits")
            faulty.cancel(number)
            cloud.proxy.remove(rule)
        assert not cloud.ids()
        with cloud.away():
            number = faulty.event.submit(_QUICK)
            faulty.assert_uncounted(number, "AWS")
        cloud.refuse(
            "RunInstances",
            "MaxSpotInstanceCountExceeded",
            when=lambda params: "InstanceMarketOptions.MarketType" in params,
        )
        faulty.assert_scored(number, "interrupted", "succeeded")
        assert "InstanceMarketOptions.MarketType" not in cloud.asked("RunInstances")[-1]


def test_what_is_wrong_in_the_account_or_the_file_counts_and_says_what_to_mend(
    faulty: Faulty,
) -> None:
    cloud, event = faulty.cloud, faulty.event
    key_path = Path(event.event.worker_config()["key_path"])
    n_before = cloud.calls["ec2:RunInstances"]
    with faulty.dispatching():
        cloud.direct.deregister_image(ImageId=cloud.image_id)
        faulty.assert_counted(event.submit(_QUICK), IMAGE, "ami_image")
        cloud.image_id = cloud.add_image(IMAGE)
        cloud.direct.delete_key_pair(KeyName=KEY)
        faulty.assert_counted(event.submit(_QUICK), "key_name", "ramp config check --online")
        cloud.direct.create_key_pair(KeyName=KEY)
        refusal = cloud.refuse("*", "AuthFailure", "not able to validate", status=401)
        faulty.assert_counted(event.submit(_QUICK), "AWS does not know the credentials", "Check")
        cloud.proxy.remove(refusal)
        n_asked = cloud.calls["ec2:RunInstances"]
        key_path.chmod(0o644)
        faulty.assert_counted(event.submit(_QUICK), f"chmod 400 {key_path}")
        key_path.chmod(0o400)
        assert cloud.calls["ec2:RunInstances"] == n_asked  # it was seen before anything cost money
        assert n_asked > n_before
        assert GROUP in event.path.read_text()


def test_an_instance_with_another_key_than_on_its_console_is_sent_nothing(faulty: Faulty) -> None:
    def swap(machine: Any) -> None:
        machine.change_host_key()  # after its console was written
        machine.start()

    faulty.farm.is_starting = False
    with faulty.dispatching(host_key_check="console"):
        number = faulty.event.submit(_QUICK)
        assert wait_for(lambda: faulty.farm.machines.keys() >= faulty.cloud.ids() != set())
        [instance] = faulty.cloud.ids()
        machine = faulty.farm.machines[instance]
        swap(machine)
        faulty.assert_counted(number, "host key", "SHA256:")
        faulty.await_no_instance()
        assert not list(machine.home.glob(".ramp*"))


def test_an_instance_that_is_taken_away_costs_no_attempt_in_any_phase(faulty: Faulty) -> None:
    with faulty.dispatching():
        for phase in ("pending", "connecting", "prepare", "start", "running", "pack"):
            take_away_in(faulty, phase)


def take_away_in(faulty: Faulty, phase: str) -> None:
    """Have a submission lose its instance in a phase of its life."""
    cloud, event = faulty.cloud, faulty.event
    if phase == "pending":
        cloud.start_slowly(n_pending=10_000)
    faulty.farm.is_starting = phase not in ("pending", "connecting")
    if phase in ("prepare", "start", "pack"):
        faulty.puppeteer.hold(phase)
    number, gate = event.submit_gated()
    if phase == "running":
        gate.await_begun(1)
    elif phase in ("pending", "connecting"):
        assert wait_for(lambda: len(cloud.ids()) == 1), (phase, faulty.explain(number))
        n_seen = len(cloud.asked("DescribeInstances"))
        cloud.proxy.wait_for(lambda: len(cloud.asked("DescribeInstances")) > n_seen + 1)
    else:
        gate.open()
        assert wait_for(lambda: faulty.puppeteer.holds(phase)), (phase, faulty.explain(number))
    [instance] = cloud.ids()
    faulty.farm.terminate(instance)
    cloud.start_slowly()
    # who sees it first tells of it: the look at all instances, or a request to this one
    faulty.assert_uncounted(number, "is gone" if phase in ("running", "pack") else instance)
    faulty.cancel(number)
    faulty.await_no_instance()
    faulty.reset()


def test_a_spot_notice_keeps_the_folds_that_are_done_and_moves_the_rest_elsewhere(
    faulty: Faulty,
) -> None:
    with faulty.dispatching(use_spot_instance=True):
        number, gate = faulty.event.submit_gated()
        gate.await_begun(1)
        [first] = faulty.cloud.ids()
        begun = gate.begun[0].fold
        gate.open(begun)
        gate.await_begun(2)
        faulty.imds.interrupt()
        faulty.assert_uncounted(number, "the spot instance is taken away", "terminate")
        faulty.imds.withdraw()
        gate.open()
        faulty.assert_scored(number, "interrupted", "succeeded")
        assert len(gate.begun) == 3  # the fold that was done was not run again
        assert first not in faulty.cloud.ids()  # nobody else was given it
        assert f"fold {begun} is kept from attempt 1" in faulty.event.log(number)


def test_an_instance_that_hangs_and_drops_and_comes_back_goes_on_with_its_run(
    faulty: Faulty,
) -> None:
    with faulty.dispatching() as witness:
        number, gate = faulty.event.submit_gated()
        gate.await_begun(1)
        hung = faulty.farm.machine()
        hung.freeze()
        other = faulty.event.submit(_QUICK)
        faulty.assert_scored(other, "succeeded")  # nobody waits for the one that hangs
        hung.thaw()
        hung.drop()
        gate.open()
        faulty.assert_scored(number, "succeeded")
        assert witness.sees(lambda w: len(w.ended) == 2)
        assert faulty.event.row(number).n_interruptions == 0


def test_an_instance_that_stays_silent_is_given_up_counted_and_terminated(faulty: Faulty) -> None:
    with faulty.dispatching():
        number, gate = faulty.event.submit_gated()
        gate.await_begun(1)
        faulty.farm.machine().stop()
        faulty.assert_counted(number, "the instance has not answered for")
        faulty.await_no_instance()


def test_a_cancel_waits_for_no_instance_that_hangs(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    with faulty.dispatching(patience_seconds=3600) as witness:
        running, gate = faulty.event.submit_gated()
        gate.await_begun(1)
        faulty.farm.machine().freeze()
        faulty.farm.is_starting = False  # the next one can never be reached
        starting = faulty.event.submit(_QUICK)
        assert wait_for(lambda: len(faulty.cloud.ids(["running"])) == 2)
        for number in (running, starting):
            faulty.cancel(number)
        assert witness.sees(lambda w: len(w.ended) == 2)
        assert faulty.event.row(running).state is State.CANCELED
        assert faulty.event.row(starting).state is State.CANCELED
        assert "given up" not in caplog.text  # the worker came back by itself
        faulty.await_no_instance()


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small disk")
def test_a_full_disk_over_there_counts_and_asks_for_a_larger_one(faulty: Faulty) -> None:
    with faulty.dispatching():
        for disk_kb, source in ((48, _QUICK), (6000, _FILLING)):
            faulty.farm.options["disk_kb"] = disk_kb
            faulty.assert_counted(faulty.event.submit(source), "disk", "larger volume")
            faulty.await_no_instance()


_RUN = ".ramp/runs/another/outgoing-1"


#: What an instance is asked, what it says, and what people are told of it.
LIES: list[tuple[str, Any, list[str]]] = [
    ("status", "garbage", ["gave no answer"]),
    ("status", '{"state": "ended", "returncode": Infinity}', ["makes no sense"]),
    ("status", {"state": "unknown", "notice": None}, ["knows nothing of the run"]),
    ("status", {"error": {"kind": "sandbox", "message": "so", "hint": "so"}}, ["so"]),
    ("pack", {"file": "/etc/passwd", "n_bytes": 1, "sha256": "0"}, ["makes no sense"]),
    ("pack", {"file": _RUN, "n_bytes": 20 << 30, "sha256": "0"}, ["bytes, at most"]),
    ("pack", {"file": _RUN, "n_bytes": 1, "sha256": "0"}, [_RUN]),
]


def test_an_instance_that_lies_is_believed_nothing_and_used_no_more(faulty: Faulty) -> None:
    with faulty.dispatching():
        for operation, answer, words in LIES:
            faulty.puppeteer.lie(operation, answer)
            faulty.assert_counted(faulty.event.submit(_QUICK), *words)
            faulty.await_no_instance()
            faulty.puppeteer.rest()


def test_an_instance_that_refuses_to_be_wiped_is_terminated_and_its_results_count(
    faulty: Faulty,
) -> None:
    faulty.puppeteer.lie("wipe", {"error": {"kind": "sandbox", "message": "no", "hint": ""}})
    with faulty.dispatching():
        faulty.assert_scored(faulty.event.submit(_QUICK), "succeeded")
        faulty.await_no_instance()


def test_a_submission_that_prints_without_end_is_scored_and_its_log_is_cut(faulty: Faulty) -> None:
    with faulty.dispatching():
        number = faulty.event.submit(_LOUD)
        faulty.assert_scored(number, "succeeded")
        assert 1 << 20 < len(faulty.event.log(number)) < 16 << 20
