"""Ray's autoscaler, on a cluster that has no node before one is wanted."""

from __future__ import annotations

from tests.integration.dispatching import wait_for
from tests.integration.on_cluster import cluster_event
from tests.remote.ray_cluster import RayCluster


def test_nodes_come_for_all_folds_of_claimed_submissions_up_to_max_folds() -> None:
    with RayCluster({}, scales_to=4) as cluster:
        worker = {"worker_type": "ray", "ray_address": cluster.address, "max_folds": 3}
        with cluster_event("scales", worker) as event, event.dispatching():
            submitted = [event.submit_gated() for _ in range(2)]
            gates = [gate for _, gate in submitted]
            assert wait_for(lambda: sum(len(gate.begun) for gate in gates) == 3)
            assert len(cluster.scaled_to()) == 3
            for gate in gates:
                gate.open()
            for number, _ in submitted:
                assert event.await_scored(number) == ["succeeded"]
            assert len(cluster.scaled_to()) == 3, "no more came than max_folds"
            event.check()
