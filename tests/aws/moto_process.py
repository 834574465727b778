"""moto's server in a process of its own, which ends with the one that started it.

Its instances have the addresses that are given as arguments, one after another. The first line that
it prints is its port.
"""

from __future__ import annotations

import itertools
import os
import sys


def main(addresses: list[str]) -> None:
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # there are hundreds
    import moto.ec2.models.elastic_network_interfaces as interfaces
    from moto.server import ThreadedMotoServer

    pool = itertools.cycle(addresses)
    interfaces.random_public_ip = lambda: next(pool)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
