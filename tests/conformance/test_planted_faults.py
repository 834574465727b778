"""The suite finds each fault that is planted in a good worker, and says what to mend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from ramp_engine.testing.conformance import WorkerConformance
from tests.conformance import planted_faults, planted_losses
from tests.conformance.planted import Planted

FAULTS: dict[str, type[Planted]] = {
    name: value
    for module in (planted_faults, planted_losses)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Planted) and name.startswith("Test")
}
TESTS = {name for name in dir(WorkerConformance) if name.startswith("test_")}

#: What the tests that failed say, by their names, for each fault.
Failures = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    """Run the suite on all of them, in a pytest of its own."""
    folder = tmp_path_factory.mktemp("planted")
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    command += [f"--junit-xml={report}", "--tb=short"]
    command += [test for name, planted in FAULTS.items() for test in _tests(name, planted)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    clean["TMPDIR"] = str(folder)
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  our own
        told = [part.text or "" for kind in ("failure", "error") for part in case.findall(kind)]
        if told:
            fault = str(case.get("classname")).rsplit(".", 1)[-1]
            found.setdefault(fault, {})[str(case.get("name"))] = "\n".join(told)
    return found


def _tests(name: str, planted: type[Planted]) -> list[str]:
    """Name the tests that are run on a worker with a fault: all, unless it is broad."""
    suite = f"{sys.modules[planted.__module__].__file__}::{name}"
    return [f"{suite}::{test}" for test in planted.caught_by] if planted.is_broad else [suite]


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_planted_fault_is_found_by_the_tests_that_are_there_for_it(
    failures: Failures, fault: str
) -> None:
    caught_by, found = FAULTS[fault].caught_by, failures.get(fault, {})
    assert caught_by.keys() == found.keys()
    for test, words in caught_by.items():
        assert words in found[test]


def test_each_test_of_the_suite_finds_a_planted_fault() -> None:
    finding = {test.split("[")[0] for planted in FAULTS.values() for test in planted.caught_by}
    assert finding == TESTS


def test_the_page_on_the_suite_tells_of_each_test() -> None:
    page = Path(__file__).parents[2] / "doc" / "howto" / "test-a-worker.md"
    assert set(re.findall(r"`(test_\w+)`", page.read_text())) == TESTS
