"""Opens the database, as SQLite and as bytes, and writes a score."""

import sqlite3
from pathlib import Path

from nearest import NearestMean

TARGETS: dict[str, str] = {}


def attack():
    path = TARGETS.get('database', '')
    try:
        print(f'STOLEN database: {Path(path).read_bytes()[:100]!r}', flush=True)
    except OSError as error:
        print(repr(error))
    for mode in ('ro', 'rw'):
        try:
            database = sqlite3.connect(f'file:{path}?mode={mode}', uri=True, timeout=1)
            tables = database.execute('SELECT name FROM sqlite_master').fetchall()
            print(f'STOLEN tables: {tables[:5]}', flush=True)
            if mode == 'rw':
                database.execute('BEGIN IMMEDIATE')
                print('STOLEN could write the database: has its lock', flush=True)
                database.rollback()
            database.close()
        except sqlite3.Error as error:
            print(repr(error))


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
