"""Connects by TCP to a server of this machine and to the world."""

import socket

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    port = int(TARGETS.get('port', 22))
    places = [('127.0.0.1', port), ('::1', port), ('0.0.0.0', port), ('localhost', port)]
    places += [('192.0.2.1', 443), ('169.254.169.254', 80), ('10.0.0.1', 22), ('172.17.0.1', port)]
    for place in places:
        try:
            with socket.create_connection(place, timeout=0.3) as connection:
                connection.sendall(b'hello')
                print(f'STOLEN connection: {place}', flush=True)
        except OSError as error:
            print(place, repr(error), flush=True)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as quick:
            quick.sendto(b'hello', 0x20000000, ('127.0.0.1', port))  # MSG_FASTOPEN
            print('STOLEN connection: by TCP_FASTOPEN', flush=True)
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
