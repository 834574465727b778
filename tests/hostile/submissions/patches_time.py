"""Sets all clocks of Python back, and writes times of its own."""

import datetime
import os
import time
from pathlib import Path

from nearest import NearestMean


def attack():
    for name in ('time', 'perf_counter', 'monotonic', 'process_time', 'thread_time'):
        setattr(time, name, lambda: -1e300)
    write = Path.write_text

    def lie(self, text, *arguments, **more):
        return write(self, '-inf' if self.name.endswith('_time') else text, *arguments, **more)

    Path.write_text = lie
    os.environ['TZ'] = 'XXX+99'
    time.tzset()


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
