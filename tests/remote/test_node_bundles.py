"""Bundles come to a node in parts or from a store, whole or not at all."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ramp_engine.bundle_archive import BundleArchive, BundleName, pack, store, unpack
from ramp_engine.errors import TransportError
from ramp_engine.remote.node.bundles import BundleCache
from ramp_engine.remote.node.refusal import Refusal
from ramp_engine.testing import ToyEvent
from ramp_engine.testing.scenarios import Scenario
from tests.remote.node_room import NodeRoom, wait_until
from tests.remote.s3_bucket import objects_in, s3_bucket

MUCH = 1 << 30


@pytest.fixture
def cache(tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path / "bundles", set)


def test_what_nodes_have_left_that_are_gone_is_removed(own_room: NodeRoom) -> None:
    own_room.place.make()
    roots = {name: own_room.place.root.parent / name for name in ("old", "new", "alive")}
    key = own_room.site["key"]
    others = {name: own_room.place.home / f"{key}{name}" / "root" for name in ("past", "paused")}
    roots |= others
    for root in roots.values():
        for folder in ("runs/run", "bundles/bundle"):
            (root / folder).mkdir(parents=True)
        (root / "lock").touch()
        os.utime(root, (0, 0))
    os.utime(roots["new"])
    os.utime(others["paused"], (time.time() - 20 * 86400,) * 2)
    with (roots["alive"] / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        own_room.agent_pid()
        left = [roots["new"] / "bundles"]
        left += [roots[name] / kind for name in ("alive", "paused") for kind in ("bundles", "runs")]
        folders = [root / name for root in roots.values() for name in ("bundles", "runs")]
        wait_until(lambda: [path for path in folders if path.exists()] == left, "an empty place")


def _other(archive: BundleArchive, name: str) -> BundleName:
    """The same archive under another name."""
    return BundleName(name, archive.bundle.sha256, archive.bundle.n_bytes)


def test_the_same_bundle_makes_the_same_archive_and_is_packed_once(
    toy_event: ToyEvent, archive: BundleArchive, tmp_path: Path
) -> None:
    again = pack(toy_event.bundle_dir, tmp_path)
    assert again.bundle == archive.bundle
    written_at = again.path.stat().st_mtime_ns
    assert pack(toy_event.bundle_dir, tmp_path) == again
    assert again.path.stat().st_mtime_ns == written_at
    with tarfile.open(again.path) as tar:
        names = tar.getnames()
    assert "manifest.json" in names
    assert not any("label" in name or "y_test" in name for name in names)


def test_parts_that_come_twice_or_out_of_turn_are_left_where_they_are(
    cache: BundleCache, archive: BundleArchive
) -> None:
    data, bundle = archive.path.read_bytes(), archive.bundle
    assert cache.take(bundle, 0, b"", MUCH) == {"have": 0}
    assert cache.take(bundle, 0, data[:5000], MUCH) == {"have": 5000}
    assert cache.take(bundle, 0, data[:5000], MUCH) == {"have": 5000}
    assert cache.take(bundle, 9000, data[9000:], MUCH) == {"have": 5000}
    assert cache.find(bundle) is None
    assert cache.take(bundle, 5000, data[5000:], MUCH) == {"have": len(data), "done": True}
    assert cache.take(bundle, 0, data, MUCH) == {"have": len(data), "done": True}
    found = cache.find(bundle)
    assert found is not None
    assert (found / "manifest.json").exists()


def test_an_upload_with_another_hash_leaves_nothing_and_begins_anew(
    cache: BundleCache, archive: BundleArchive, tmp_path: Path
) -> None:
    data, bundle = archive.path.read_bytes(), archive.bundle
    wrong = data[:-3000] + bytes(byte ^ 1 for byte in data[-3000:])
    arrival = cache.arrival(bundle, None, MUCH)
    with pytest.raises(Refusal, match=r"damaged|hash") as caught:
        cache.take(bundle, 0, wrong, MUCH)
    assert caught.value.kind == "bundle"
    assert arrival.exception() is caught.value, "who waits for it is told"
    assert list((tmp_path / "bundles").iterdir()) == []
    assert cache.take(bundle, 0, data, MUCH)["done"]


def test_uploads_of_an_agent_that_died_are_swept(tmp_path: Path, archive: BundleArchive) -> None:
    folder = tmp_path / "bundles"
    BundleCache(folder, set).take(archive.bundle, 0, b"half", MUCH)
    assert len(list(folder.iterdir())) == 1
    BundleCache(folder, set)
    assert list(folder.iterdir()) == []


def test_the_longest_unused_bundles_go_first_but_none_that_is_used(
    tmp_path: Path, archive: BundleArchive
) -> None:
    held: set[Path] = set()
    cache = BundleCache(tmp_path / "bundles", lambda: held)
    data = archive.path.read_bytes()
    bundles = [_other(archive, name) for name in ("used", "held", "old", "new")]
    with cache.using(bundles[0]):
        for bundle in bundles:
            cache.take(bundle, 0, data, MUCH)
            found = cache.find(bundle)
            assert found is not None
            size = sum(path.stat().st_size for path in found.rglob("*") if path.is_file())
            if bundle.name == "held":
                held.add(found)
        cache.take(_other(archive, "last"), 0, data, 3 * size + len(data))
    names = ("used", "held", "old", "new", "last")
    there = [name for name in names if cache.find(_other(archive, name))]
    assert there == ["used", "held", "new", "last"]


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-of-bundles", "link"])
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member)
    data = buffer.getvalue()
    bundle = BundleName("odd", "0", len(data))
    with pytest.raises(TransportError):
        unpack(io.BytesIO(data), bundle, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_comes_from_a_folder_that_nodes_share(
    shared_room: NodeRoom, archive: BundleArchive, tmp_path: Path
) -> None:
    stored = BundleArchive(archive.path, _other(archive, "stored"))
    where = str(tmp_path / "store")
    asked = {
        "spec": shared_room.spec | {"bundle_store": where},
        "bundle": stored.bundle.to_json(),
    }
    missing = shared_room.fold("too-early", Scenario.GOOD, **asked).end()
    assert (missing["how"], missing["kind"]) == ("refused", "bundle")
    assert where in missing["message"]
    assert store(stored, where) == f"{where}/{stored.bundle.file_name}"
    fold = shared_room.fold("stored", Scenario.GOOD, **asked)
    assert fold.end()["how"] == "done"
    assert "needs" not in fold.said


def test_a_bundle_comes_from_a_store_that_has_a_url(
    cache: BundleCache, archive: BundleArchive, tmp_path: Path
) -> None:
    where = f"file://{tmp_path}/store"
    first = store(archive, where)
    assert first == store(archive, where) == f"{where}/{archive.bundle.file_name}"
    assert [path.name for path in (tmp_path / "store").iterdir()] == [archive.bundle.file_name]
    found = cache.arrival(archive.bundle, where, MUCH).result(60)
    assert (found / "manifest.json").exists()
    (tmp_path / "store" / archive.bundle.file_name).write_bytes(b"something else")
    other = BundleCache(tmp_path / "other", set).arrival(archive.bundle, where, MUCH)
    assert "hash" in str(other.exception(60)) or "damaged" in str(other.exception(60))


def test_a_bundle_comes_from_s3_and_whoever_may_not_read_it_is_told(
    cache: BundleCache, archive: BundleArchive
) -> None:
    with s3_bucket() as bucket:
        _keep_in(bucket, cache, archive)


def _keep_in(bucket: str, cache: BundleCache, archive: BundleArchive) -> None:
    where = f"{bucket}/of/iris/"
    missing = cache.arrival(archive.bundle, where, MUCH)
    assert f"the bundle_store {where} refuses" in str(missing.exception(60))
    url = f"{where}{archive.bundle.file_name}"
    assert store(archive, where) == url
    (listed,) = objects_in(bucket)
    assert (listed["Key"], listed["Size"]) == (
        url.removeprefix(f"{bucket}/"),
        archive.bundle.n_bytes,
    )
    assert store(archive, where) == url
    (again,) = objects_in(bucket)
    assert again["LastModified"] == listed["LastModified"], "it was there"
    found = cache.arrival(archive.bundle, where, MUCH).result(60)
    assert (found / "manifest.json").exists()
    with pytest.raises(TransportError, match="the bundle_store s3://no-such-bucket refuses"):
        store(archive, "s3://no-such-bucket")


WITHOUT_BOTO3 = """
import sys
from pathlib import Path
from ramp_engine.bundle_archive import BundleArchive, BundleName, store
from ramp_engine.errors import WorkerSetupError

sys.modules["boto3"] = None
try:
    store(BundleArchive(Path("any"), BundleName("any", "0", 1)), "s3://bundles")
except WorkerSetupError as error:
    print(error)
"""


def test_a_store_whose_package_is_missing_says_which() -> None:
    command = [sys.executable, "-c", WITHOUT_BOTO3]
    (line,) = subprocess.check_output(command, text=True).splitlines()
    assert "boto3" in line
    assert "pip install 'ramp-engine[s3]'" in line


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=32k tmpfs "$1" && exec "$0" -c '
import sys
from pathlib import Path
from ramp_engine.bundle_archive import BundleName
from ramp_engine.remote.node.bundles import BundleCache
from ramp_engine.remote.node.refusal import Refusal

data = Path(sys.argv[2]).read_bytes()
folder = Path(sys.argv[1], "bundles")
for part in (data[:8000], data, data + bytes(50_000)):
    cache = BundleCache(folder, set)
    bundle = BundleName("full", sys.argv[3], max(len(part), len(data)))
    try:
        print(cache.take(bundle, 0, part, 1 << 30))
    except Refusal as refusal:
        print(refusal.kind, [path.name for path in folder.iterdir()])
' "$1" "$2" "$3"
"""


def test_a_full_disk_refuses_a_bundle_and_keeps_nothing_of_it(
    archive: BundleArchive, tmp_path: Path
) -> None:
    command = ["unshare", "-Urm", "sh", "-c", ON_A_SMALL_DISK, sys.executable, str(tmp_path)]
    command += [str(archive.path), archive.bundle.sha256]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["{'have': 8000}", "disk []", "disk []"], done.stderr
