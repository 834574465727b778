"""A dispatcher that starts one run, tells of it, and waits to be killed."""

from __future__ import annotations

import json
import sys
import threading

from ramp_engine.remote.gateway.client import GatewayClient
from tests.remote.thread_cluster import ENGINE, ThreadWorker


def main() -> None:
    config = json.loads(sys.argv[1])
    with GatewayClient(ENGINE, config) as client:
        worker = ThreadWorker(config, sys.argv[2])
        worker.shared = client
        worker.setup()
        handle = worker.handle()
        worker.launch_submission()
        print(json.dumps({"handle": handle, "gateway": client.pid}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
