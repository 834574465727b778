"""Opens raw, packet, netlink, VM and crypto sockets, and protocols that load modules."""

import socket

from nearest import NearestMean


#: family, kind, protocol: none of them is of use to a computation.
ODD = [
    (16, 3, 0),
    (16, 3, 9),
    (16, 3, 12),
    (17, 3, 0x300),
    (17, 2, 0x300),
    (2, 3, 1),
    (2, 3, 255),
    (2, 10, 0x300),
    (10, 3, 58),
    (40, 1, 0),
    (40, 2, 0),
    (38, 5, 0),
    (29, 3, 1),
    (31, 3, 0),
    (44, 3, 0),
    (15, 3, 2),
    (24, 1, 0),
    (30, 5, 0),
    (21, 5, 0),
    (41, 5, 0),
    (43, 1, 0),
    (9, 5, 0),
    (2, 1, 132),
    (2, 5, 132),
    (2, 6, 33),
    (2, 2, 136),
    (2, 1, 262),
    (2, 1, 256),
    (2, 2, 115),
]


def attack():
    for family, kind, protocol in ODD:
        try:
            socket.socket(family, kind, protocol).close()
            print(f'STOLEN could make a socket: {(family, kind, protocol)}', flush=True)
        except OSError as error:
            print((family, kind, protocol), repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
