"""What an organiser says of confinement, and what becomes of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ramp_engine.doctor.confinement import closed_gpus
from ramp_engine.errors import ResourceUnavailableError, SandboxError, WorkerSetupError
from ramp_engine.gpus import GpuAccess, GpuPool, cannot_open
from ramp_engine.sandbox import Limits, Refusal, Sandbox, SandboxKeys, probing

REFUSED = (
    Refusal("namespaces", "the kernel refuses user namespaces", "set user.max_user_namespaces"),
)


def keys(**values: Any) -> SandboxKeys:
    return SandboxKeys.model_validate(values)


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the machine offer a level."""

    def offer(level: str, *refused: Refusal) -> None:
        monkeypatch.setattr(
            probing, "_probe", lambda _python, uid, gid: Sandbox(level, uid, gid, refused)
        )

    return offer


def find(**values: Any) -> Sandbox:
    return probing.find_sandbox(Path("/usr/bin/python3"), keys(**values))


def test_the_defaults_confine_as_well_as_the_machine_can() -> None:
    assert keys().sandbox == "auto"
    assert not keys().allow_network
    assert keys().limits.memory_mb == "auto"


def test_the_memory_is_shared_by_those_that_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramp_engine.sandbox.settings.machine_mb", lambda: 10_000.0)
    assert Limits().to_spec(1)["memory_mb"] == 9000
    assert Limits().to_spec(3)["memory_mb"] == 3000
    assert Limits().to_spec(100)["memory_mb"] == 1024, "an import takes that"


def test_a_limit_that_is_given_counts_and_null_takes_it_away() -> None:
    limits = Limits.model_validate({"memory_mb": 2000, "file_mb": None})
    spec = limits.to_spec(4)
    assert (spec["memory_mb"], spec["file_mb"]) == (2000, None)


@pytest.mark.parametrize(
    "limits",
    [{"memory_mb": 100}, {"memory_mb": True}, {"processes": 0}, {"speed": 3}, {"log_mb": -1}],
)
def test_a_limit_that_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        keys(limits=limits)


@pytest.mark.parametrize("value", ["off", False])
def test_off_needs_no_quotes_in_yaml(value: object) -> None:
    assert keys(sandbox=value).sandbox == "off"


@pytest.mark.parametrize("value", [True, 0, None, "of"])
def test_other_words_are_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        keys(sandbox=value)


def test_a_path_that_is_missing_is_told_and_not_left_out(offers: Any, tmp_path: Path) -> None:
    offers("namespaces")
    with pytest.raises(SandboxError, match="models, which is missing"):
        find(extra_read_paths=[tmp_path / "models"])
    assert find(extra_read_paths=[tmp_path]).level == "namespaces"


def test_off_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_probe", None)
    assert find(sandbox="off").level == "none"


def test_required_refuses_less_than_namespaces_and_says_what_to_do(offers: Any) -> None:
    offers("landlock", *REFUSED)
    with pytest.raises(SandboxError, match="max_user_namespaces") as caught:
        find(sandbox="required")
    assert "the kernel refuses" in caught.value.reason


def test_auto_takes_what_there_is_and_warns(offers: Any, caplog: pytest.LogCaptureFixture) -> None:
    offers("landlock", *REFUSED)
    with caplog.at_level(logging.WARNING):
        assert find().level == "landlock"
    assert "confined by landlock only" in caplog.text
    assert "max_user_namespaces" in caplog.text


def test_namespaces_are_no_reason_to_warn(offers: Any, caplog: pytest.LogCaptureFixture) -> None:
    offers("namespaces")
    assert find(sandbox="required").level == "namespaces"
    assert caplog.text == ""


@pytest.mark.parametrize("user", ["root", "nobody-knows-this-user"])
def test_submissions_run_as_somebody_without_rights(
    offers: Any, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    offers("namespaces")
    with pytest.raises(SandboxError, match=user):
        find(sandbox_user=user)


def test_the_fold_step_is_told_level_user_and_limits() -> None:
    spec = Sandbox("namespaces", 65534, 65534).spec(keys(extra_read_paths=["/opt/model"]), 1)
    assert (spec["level"], spec["uid"], spec["read"]) == ("namespaces", 65534, ["/opt/model"])
    assert spec["allow_network"] is False
    assert (spec["limits"]["processes"], spec["limits"]["threads"]) == (512, 4096)


def test_each_run_gets_gpus_of_its_own_and_gives_them_back() -> None:
    pool = GpuPool(["0", "1", "2"])
    first = pool.take(2)
    with pytest.raises(ResourceUnavailableError):
        pool.take(2)
    (third,) = pool.take(1)
    assert third not in first
    pool.give_back(first)
    assert set(pool.take(2)) == set(first)


def test_more_gpus_than_there_are_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(WorkerSetupError, match="needs 2 GPUs, and this machine has 1"):
        GpuPool(["0"]).take(2)


def test_each_of_several_processes_gets_gpus_of_its_own() -> None:
    pool = GpuPool(["0"])
    assert pool.take(1, among=["1"]) == ("1",), "not known before"
    with pytest.raises(ResourceUnavailableError, match="0 GPUs are free"):
        pool.take(1, among=["1"])
    assert pool.take(1, among=["0", "1"]) == ("0",)
    pool.give_back(["1"])
    assert pool.take(1, among=["1", "0"]) == ("1",)
    with pytest.raises(WorkerSetupError, match="needs 1 GPUs, and this machine has 0"):
        pool.take(1, among=[])


def test_the_devices_that_this_process_may_use_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc,")
    pool = GpuPool.found()
    assert pool.take(2) == ("3", "GPU-abc")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert GpuPool.found().take(0) == ()


def devices_in(folder: Path, *names: str) -> Path:
    """Make stand-ins for device nodes; what is told of them depends on their names only."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


NVIDIA = ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1", "nvidia2", "nvidia-caps/nvidia-cap1")


def shown(pool: GpuPool, dev: Path, *gpus: str) -> list[str]:
    devices = pool.access(gpus, is_confined=True).devices
    return [str(Path(path).relative_to(dev)) for path in devices]


def test_a_confined_run_is_shown_its_own_gpus_and_counts_them_from_zero(tmp_path: Path) -> None:
    dev = devices_in(tmp_path, *NVIDIA, "kvm")
    pool = GpuPool(["0", "1", "2"], dev)
    assert shown(pool, dev, "1", "2") == ["nvidia-uvm", "nvidia1", "nvidia2", "nvidiactl"]
    assert pool.access(["1", "2"], is_confined=True).visible == ("0", "1")


def test_of_gpus_with_names_all_nodes_are_shown_and_the_names_choose(tmp_path: Path) -> None:
    dev = devices_in(tmp_path, *NVIDIA)
    pool = GpuPool(["MIG-abc"], dev)
    assert shown(pool, dev, "MIG-abc") == sorted(NVIDIA)
    assert pool.access(["MIG-abc"], is_confined=True).visible == ("MIG-abc",)


def test_gpus_of_amd_are_shown_by_their_own_nodes(tmp_path: Path) -> None:
    dev = devices_in(tmp_path, "kfd", "dri/renderD128", "dri/card0")
    assert shown(GpuPool(["0"], dev), dev, "0") == ["dri/renderD128", "kfd"]


def test_what_drivers_read_is_shown_with_a_gpu_only(tmp_path: Path) -> None:
    sys = devices_in(tmp_path, "module/nvidia/version", "devices/pci0000:00/x", "block/sda")
    pool = GpuPool(["0"], tmp_path, sys)
    read = pool.access(["0"], is_confined=True).read
    assert read == (str(sys / "devices/pci0000:00"), str(sys / "module/nvidia"))
    assert pool.access([], is_confined=True) == GpuAccess()


def test_a_run_that_is_not_confined_has_the_numbers_of_the_machine() -> None:
    assert GpuPool(["3"]).access(["3"], is_confined=False) == GpuAccess(("3",))


def test_the_doctor_names_the_gpus_that_submissions_cannot_open(tmp_path: Path) -> None:
    dev = devices_in(tmp_path, "nvidiactl", "nvidia0", "nvidia1")
    for path in dev.iterdir():
        path.chmod(0o660 if path.name == "nvidia1" else 0o666)
    status = dev.stat()
    sandbox = Sandbox("namespaces", status.st_uid + 1, status.st_gid + 1)
    (finding,) = closed_gpus(GpuPool(["0", "1"], dev), sandbox)
    assert f"user {sandbox.uid}, as whom submissions run, cannot open {dev}/nvidia1" in str(finding)
    assert f"group {status.st_gid}" in str(finding)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_closed"),
    [(0o666, 1, 1, False), (0o660, 1, 1, True), (0o660, 1, None, False), (0o664, 1, 1, True)],
)
def test_who_cannot_open_a_device_is_known(
    tmp_path: Path, mode: int, uid: int, gid: int | None, is_closed: bool
) -> None:
    node = tmp_path / "kfd"
    node.touch()
    node.chmod(mode)
    status = node.stat()
    group = status.st_gid if gid is None else status.st_gid + gid
    assert cannot_open(node, status.st_uid + uid, group) is is_closed
