"""Telling local file systems from those of a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_database.mounts import network_file_system

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:45 / /home rw,relatime shared:20 - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/fast rw,relatime - xfs /dev/vdb rw
32 22 0:46 / /mnt/with\040space rw master:3 propagate_from:2 - cifs //server/share rw
33 22 0:47 / /scratch rw - ext4 /dev/vdc rw
34 22 0:48 / /scratch rw - fuse.sshfs host:/scratch rw
""".strip()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ramp.db", None),
        ("/home/ada/ramp.db", "nfs4"),
        ("/homes/ada/ramp.db", None),
        ("/home/fast/ramp.db", None),
        ("/mnt/with space/ramp.db", "cifs"),
        ("/scratch/deep/er/ramp.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_last_mount_counts(path: str, expected: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == expected


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    network_file_system(tmp_path)
    assert network_file_system(tmp_path, "") is None
