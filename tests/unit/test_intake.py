"""What participants hand in is read with care, and refused with a reason."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ramp_database.submissions import SubmissionFile, check_files
from ramp_engine import intake
from ramp_engine.errors import SubmissionRejectedError


def folder(root: Path, **files: bytes) -> Path:
    path = root / "my_submission"
    path.mkdir()
    for name, content in files.items():
        place = path / name.replace("__", "/").replace("_py", ".py")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    return path


def zipped(root: Path, files: dict[str, bytes], *, mode: int = 0o100644) -> Path:
    path = root / "my_submission.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def tarred(root: Path, members: list[tarfile.TarInfo], content: bytes = b"x") -> Path:
    path = root / "my_submission.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def test_a_folder_is_read_with_its_sub_folders_and_data(tmp_path: Path) -> None:
    path = folder(tmp_path, estimator_py=b"code", data__weights=b"\xff\x00")
    assert intake.read_files(path) == [
        SubmissionFile(path="data/weights", content=b"\xff\x00"),
        SubmissionFile(path="estimator.py", content=b"code"),
    ]
    assert intake.default_name(path) == "my_submission"


def test_what_nobody_meant_to_submit_is_left_out(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        estimator_py=b"code",
        training_output__log=b"x",
        **{".git__config": b"x", ".DS_Store": b"x", "old.pyc": b"x"},
    )
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "estimator.cpython-311.pyc").write_bytes(b"x")
    assert [file.path for file in intake.read_files(path)] == ["estimator.py"]


@pytest.mark.parametrize("top", ["", "my_submission/"])
def test_an_archive_may_hold_the_files_at_its_top_or_in_a_folder(tmp_path: Path, top: str) -> None:
    files = {f"{top}estimator.py": b"a", f"{top}data/weights": b"b", "__MACOSX/x": b"c"}
    path = zipped(tmp_path, files)
    assert [file.path for file in intake.read_files(path)] == ["data/weights", "estimator.py"]
    assert intake.default_name(path) == "my_submission"


@pytest.mark.parametrize(
    "name", ["../estimator.py", "/etc/passwd", "a/../../b", "a\\b", "line\nbreak", "x" * 300]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SubmissionRejectedError, match="not allowed"):
        intake.read_files(zipped(tmp_path, {name: b"x", "estimator.py": b"y"}))
    with pytest.raises(SubmissionRejectedError, match="not allowed"):
        intake.read_files(tarred(tmp_path, [tarfile.TarInfo(name)]))


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, estimator_py=b"code")
    (path / "link").symlink_to("/etc/passwd")
    with pytest.raises(SubmissionRejectedError, match=r"'link' is a link"):
        intake.read_files(path)
    (path / "link").unlink()
    (path / "linked_folder").symlink_to("/etc")
    with pytest.raises(SubmissionRejectedError, match=r"'linked_folder' is a link"):
        intake.read_files(path)
    (path / "linked_folder").unlink()
    os.mkfifo(path / "pipe")
    with pytest.raises(SubmissionRejectedError, match=r"'pipe' is a link or a special"):
        intake.read_files(path)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE],
)
def test_links_and_devices_in_archives_are_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("estimator.py")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(SubmissionRejectedError, match="link or a special file"):
        intake.read_files(tarred(tmp_path, [member]))
    for mode in (0o120777, 0o020666, 0o060666, 0o010666):
        with pytest.raises(SubmissionRejectedError, match="link or a special file"):
            intake.read_files(zipped(tmp_path, {"estimator.py": b"/etc/passwd"}, mode=mode))


def test_a_small_archive_with_huge_content_is_refused_while_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"bomb": b"\0" * (8 << 20), "estimator.py": b"x"})
    assert path.stat().st_size < 100_000
    with pytest.raises(SubmissionRejectedError, match="more than 1 MB"):
        intake.read_files(path, max_bytes=1 << 20)


def test_files_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, a=b"x" * 600, b=b"x" * 600)
    assert len(intake.read_files(path, max_bytes=1200)) == 2
    with pytest.raises(SubmissionRejectedError, match="hold more than"):
        intake.read_files(path, max_bytes=1199)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_FILES", 2)
    with pytest.raises(SubmissionRejectedError, match="more than 2 files"):
        intake.read_files(folder(tmp_path, a=b"", b=b"", c=b""))


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    members = [tarfile.TarInfo("a"), tarfile.TarInfo("./a")]
    with pytest.raises(SubmissionRejectedError, match="twice"):
        intake.read_files(tarred(tmp_path, members))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"plain text"])
def test_what_is_no_archive_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my_submission.zip"
    path.write_bytes(content)
    with pytest.raises(SubmissionRejectedError, match=r"neither a folder nor|cannot be read"):
        intake.read_files(path)


def test_a_cut_off_archive_is_told_as_such(tmp_path: Path) -> None:
    path = tarred(tmp_path, [tarfile.TarInfo("estimator.py")], os.urandom(100_000))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(SubmissionRejectedError, match="cannot be read"):
        intake.read_files(path)


def test_an_archive_that_says_that_it_holds_too_much_is_not_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"bomb": b"x" * 100})
    declared = (3 << 30).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace((100).to_bytes(4, "little"), declared))
    with pytest.raises(SubmissionRejectedError, match="more than 100 MB"):
        intake.read_files(path)


def test_an_archive_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"bomb": b"x" * 100_000})
    declared = (100_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(declared, (10).to_bytes(4, "little")))
    with pytest.raises(SubmissionRejectedError, match="cannot be read: Bad CRC-32"):
        intake.read_files(path)


def bomb_in_a_zip(root: Path) -> Path:
    return zipped(root, {"bomb": b"\0" * (20 << 20)})


def bomb_in_a_tar(root: Path) -> Path:
    return tarred(root, [tarfile.TarInfo("bomb")], b"\0" * (20 << 20))


def bomb_that_would_be_left_out(root: Path) -> Path:
    return tarred(root, [tarfile.TarInfo(".hidden")], b"\0" * (20 << 20))


@pytest.mark.parametrize("make", [bomb_in_a_zip, bomb_in_a_tar, bomb_that_would_be_left_out])
def test_an_archive_that_holds_far_more_than_its_size_is_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(SubmissionRejectedError, match="more than 200 times its own size"):
        intake.read_files(make(tmp_path))


def test_well_compressed_small_files_are_no_bomb(tmp_path: Path) -> None:
    assert len(intake.read_files(zipped(tmp_path, {"zeros": b"\0" * (1 << 20)}))) == 1


def test_a_compressed_tar_is_not_read_beyond_the_limit(tmp_path: Path) -> None:
    content = os.urandom(1 << 16) * 64
    path = tarred(tmp_path, [tarfile.TarInfo("a")], content)
    with pytest.raises(SubmissionRejectedError, match="more than 1 MB"):
        intake.read_files(path, max_bytes=1 << 20)


def test_an_archive_of_more_entries_than_anybody_needs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_ENTRIES", 2)
    names = {".a": b"", ".b": b"", ".c": b"", "estimator.py": b""}
    with pytest.raises(SubmissionRejectedError, match="more than 2 entries"):
        intake.read_files(zipped(tmp_path, names))
    with pytest.raises(SubmissionRejectedError, match="more than 2 entries"):
        intake.read_files(tarred(tmp_path, [tarfile.TarInfo(name) for name in names]))


def test_a_file_too_deep_in_folders_is_refused(tmp_path: Path) -> None:
    deep = "a/" * (intake.MAX_DEPTH + 1) + "b"
    with pytest.raises(SubmissionRejectedError, match="more than 16 folders deep"):
        intake.read_files(zipped(tmp_path, {deep: b"x"}))
    assert intake.read_files(zipped(tmp_path, {deep[2:]: b"x", "c": b"x"}))


def test_an_encrypted_or_unusually_compressed_member_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"estimator.py": b"x"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(SubmissionRejectedError, match="encrypted"):
        intake.read_files(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("estimator.py", b"x" * 1000)
    with pytest.raises(SubmissionRejectedError, match="compressed in a way that is not read"):
        intake.read_files(path)


def test_a_damaged_stream_is_told_as_such(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a": os.urandom(10_000)})
    content = bytearray(path.read_bytes())
    content[100:5000] = bytes(4900)
    path.write_bytes(content)
    with pytest.raises(SubmissionRejectedError, match="cannot be read"):
        intake.read_files(path)


def given(**files: bytes) -> list[SubmissionFile]:
    return [SubmissionFile(path, content) for path, content in files.items()]


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("Model.py", "model.py"), "'Model.py' and 'model.py' are the same name"),
        (("caf\u00e9", "cafe\u0301"), "the same name on some systems"),
        (("STRASSE", "stra\u00dfe"), "the same name on some systems"),
        (("data", "data/weights"), "'data' is the name of a file and of a folder"),
        (("Data/weights", "data"), "'data' is the name of a file and of a folder"),
        (("a", "a"), "it holds 'a' twice"),
    ],
)
def test_names_that_collide_on_some_system_are_refused(paths: tuple[str, str], reason: str) -> None:
    with pytest.raises(SubmissionRejectedError, match=reason):
        check_files([SubmissionFile(path, b"") for path in paths])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x = 1\ny = '\xe9'\n", "'estimator.py' is not UTF-8 text: the byte 0xe9 in line 2"),
        ("x = 1".encode("utf-16"), "the byte 0xff in line 1"),
        (b"x\n\ny\0", "a NUL in line 3"),
    ],
)
def test_code_that_is_not_utf_8_is_refused_with_its_line(content: bytes, reason: str) -> None:
    with pytest.raises(SubmissionRejectedError, match=reason):
        check_files(given(**{"estimator.py": content}))
    check_files(given(**{"weights.bin": content, "a.py": "caf\u00e9 = 1".encode()}))
