"""The network of a node of Ray is cut in mid-fold."""

from __future__ import annotations

import time

from tests.integration.dispatching import LONG, wait_for
from tests.integration.on_cluster import cluster_event
from tests.remote.cluster_workers import OURS
from tests.remote.node_room import wait_until
from tests.remote.ray_cluster import RayCluster
from tests.remote.two_hosts import two_hosts

_NODES = {name: ["--num-cpus=1"] for name in ("here", "there")}
#: How soon Ray takes a node that does not answer for dead; in its own time, that is a minute.
_HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
_LEASE_SECONDS = 4


def test_a_node_whose_network_is_cut_ends_its_fold_which_runs_elsewhere() -> None:
    worker = {"worker_type": "ray", "lease_seconds": _LEASE_SECONDS}
    with (
        two_hosts() as (near, far),
        RayCluster(
            _NODES,
            variables_of={"head": _HEALTH},
            hosts={"head": near, "here": near, "there": far},
        ) as cluster,
        cluster_event("iris", worker | {"ray_address": cluster.address}) as event,
        event.dispatcher_process(*near.command()) as dispatcher,
    ):
        number, gate = event.submit_gated()
        begun = gate.await_begun(2)
        [lost] = [one for one in begun if cluster.node_of(one.pids[0]) == "there"]
        far.cut()
        cut_at = time.monotonic()
        assert wait_for(lambda: lost.is_gone)
        print(f"the fold of the cut node ended after {time.monotonic() - cut_at:.1f} s")
        gate.open()
        assert event.await_scored(number) == ["crashed", "succeeded"]
        print(f"scored {time.monotonic() - cut_at:.1f} s after the cut")
        assert sorted(one.fold for one in gate.begun) == sorted([0, 1, lost.fold])
        told = event.attempts(number)[0].error or ""  # by whom it is missed first
        assert "is no longer part of the Ray cluster" in told or "has not answered for" in told
        event.check()
        dispatcher.terminate()
        assert dispatcher.wait(LONG) == 0
        event.nodes.await_no_agents()
        far.join()
        wait_until(lambda: cluster.processes_of(*OURS) == 0, "the end of all in Ray")
        print(f"all has ended {time.monotonic() - cut_at:.1f} s after the cut")
