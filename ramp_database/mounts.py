"""Which file system a path lies on: SQLite cannot lock files on those of a network."""

from __future__ import annotations

import re
from pathlib import Path

#: File systems of networks, on which locks or shared memory do not hold between machines.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "smb3",
        "smbfs",
    }
)

_MOUNTS = Path("/proc/self/mountinfo")


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Tell on which network file system a path lies.

    Parameters
    ----------
    path : Path
        A file or folder; it need not exist.
    mounts : str, optional
        The text of ``/proc/self/mountinfo``; read when it is not given.

    Returns
    -------
    str or None
        The type, such as ``nfs4``; None for a local one, and where that cannot be told.

    References
    ----------
    ``man 5 proc_pid_mountinfo``: mount point in the fifth field, type behind the lone hyphen.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text(errors="surrogateescape") if _MOUNTS.exists() else ""
    parents = {str(parent) for parent in (path.resolve(), *path.resolve().parents)}
    deepest, found = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _unescape(before.split()[4])
        # of several mounts on one point the last is the one that is seen
        if point in parents and len(point) >= deepest:
            deepest, found = len(point), after.split()[0]
    return found if found in NETWORK_FILE_SYSTEMS else None


def _unescape(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
