"""Changes the interpreter outside through /proc/self/exe, which is on no mount of its own."""

import os

from nearest import NearestMean


def attack():
    path = '/proc/self/exe'
    status = os.stat(path)
    for name, trial in {
        'mode': lambda: os.chmod(path, status.st_mode & 0o7777),
        'times': lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
        'owner': lambda: os.chown(path, status.st_uid, status.st_gid),
        'attribute': lambda: (
            os.setxattr(path, 'user.ramp', b'x'),
            os.removexattr(path, 'user.ramp'),
        ),
        'content': lambda: os.close(os.ｏpen(path, os.O_WRONLY)),
        'link': lambda: os.link(path, 'interpreter', follow_symlinks=True),
    }.items():
        try:
            trial()
        except OSError as error:
            print(name, repr(error), flush=True)
        else:
            print(f'STOLEN could change the {name} of the interpreter', flush=True)
    if os.path.exists('interpreter'):
        os.unlink('interpreter')


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
