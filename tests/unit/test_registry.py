"""Which workers there are, and what is said of those that there are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ramp_engine import registry
from ramp_engine.errors import PluginError
from ramp_engine.local import CondaEnvWorker, LocalWorker
from ramp_engine.testing import FakeWorker


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that announces several workers, good and bad."""
    (tmp_path / "cloudy.py").write_text(
        "from ramp_engine.testing import FakeWorker\n"
        "from ramp_engine.base import BaseWorker\n"
        "class CloudWorker(FakeWorker): pass\n"
        "class HalfWorker(BaseWorker): pass\n"
        "class NoWorker: pass\n"
        "class Clouds:\n    class Inner(FakeWorker): pass\n"
    )
    (tmp_path / "cloudy_broken.py").write_text("import cloud_sdk_that_is_not_there\n")
    (tmp_path / "cloudy_leaving.py").write_text("raise SystemExit(3)\n")
    info = tmp_path / "ramp_cloudy-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ramp-cloudy\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[ramp_engine.workers]\n"
        "cloud = cloudy:CloudWorker\n"
        "inner = cloudy:Clouds.Inner [sdk]\n"
        "half = cloudy:HalfWorker\n"
        "none = cloudy:NoWorker\n"
        "gone = cloudy:Gone\n"
        "broken = cloudy_broken:Worker\n"
        "leaving = cloudy_leaving:Worker\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("cloudy", "cloudy_broken", "cloudy_leaving"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_the_built_in_workers_are_found() -> None:
    assert registry.worker_class("local") is LocalWorker
    assert registry.worker_class("conda") is CondaEnvWorker


def test_a_class_may_be_named_in_full() -> None:
    assert registry.worker_class("ramp_engine.testing:FakeWorker") is FakeWorker


def test_a_plugin_is_found_by_its_entry_point(plugins: Path) -> None:
    assert registry.worker_class("cloud").__name__ == "CloudWorker"


def test_an_entry_point_may_name_a_class_in_a_class_and_extras(plugins: Path) -> None:
    assert registry.worker_class("inner").__qualname__ == "Clouds.Inner"


def test_plugins_are_listed_with_their_origin_and_without_an_import(plugins: Path) -> None:
    found = registry.known_workers()["broken"]
    assert found == registry.Plugin("broken", "cloudy_broken:Worker", "ramp-cloudy 1.5")
    assert "cloudy_broken" not in sys.modules


def test_an_unknown_type_is_told_with_the_nearest_and_the_known() -> None:
    with pytest.raises(PluginError, match="did you mean 'conda'") as caught:
        registry.worker_class("cnda")
    assert {"conda", "local"} <= set(caught.value.known)


@pytest.mark.parametrize(
    ("worker_type", "reason"),
    [
        ("half", "does not implement _is_submission_finished"),
        ("none", "is not a subclass of ramp_engine.base.BaseWorker"),
        ("gone", "cloudy has no 'Gone'"),
        ("leaving", "cloudy_leaving fails to load: SystemExit"),
        ("cloudy:NoWorker", "is not a subclass"),
        ("no_such_module:Worker", "no_such_module fails to load"),
        ("cloudy:", "cloudy has no ''"),
        (":Worker", "fails to load"),
    ],
)
def test_a_plugin_at_fault_is_told_with_the_reason(
    plugins: Path, worker_type: str, reason: str
) -> None:
    with pytest.raises(PluginError, match=reason):
        registry.worker_class(worker_type)


def test_a_broken_plugin_is_told_with_its_cause_and_harms_nobody_else(plugins: Path) -> None:
    with pytest.raises(PluginError, match="cloud_sdk_that_is_not_there") as caught:
        registry.worker_class("broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert registry.worker_class("cloud").__name__ == "CloudWorker"
    assert registry.worker_class("local") is LocalWorker


def test_no_plugin_takes_the_name_of_a_built_in_worker_and_it_is_told(
    plugins: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = plugins / "ramp_other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ramp-other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[ramp_engine.workers]\nlocal = cloudy:CloudWorker\n")
    assert registry.known_workers()["local"].target == "ramp_engine.local:LocalWorker"
    assert "two plugins bring the same worker_type" in caplog.text
