"""The event's environment: a real venv, made, found again, repaired, refused."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from ramp_engine.environments import create_env, default_prefix, python_for_worker, python_in
from ramp_engine.errors import WorkerSetupError


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit that needs a package of its own, which lies beside its requirements.txt."""
    kit = tmp_path_factory.mktemp("kit")
    write_wheel(kit / "tinykit-1.0-py3-none-any.whl")
    (kit / "requirements.txt").write_text("./tinykit-1.0-py3-none-any.whl\n")
    return kit


@pytest.fixture(scope="module")
def prefix(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment made for the kit."""
    prefix = tmp_path_factory.mktemp("work") / "env"
    create_env(kit / "requirements.txt", prefix)
    return prefix


def write_wheel(path: Path) -> None:
    """Write a wheel of one module by hand: pip needs no network and no build system for it."""
    info = "tinykit-1.0.dist-info"
    files = {
        "tinykit.py": "ANSWER = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinykit\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"tinykit.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def test_the_environment_has_what_the_kit_needs(prefix: Path) -> None:
    command = [
        python_in(prefix),
        "-I",
        "-c",
        "import tinykit, sys; print(tinykit.ANSWER, sys.prefix)",
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert out.split() == ["42", str(prefix)]


def test_its_bytecode_is_compiled(prefix: Path) -> None:
    assert list(prefix.glob("lib/python*/site-packages/__pycache__/tinykit.*.pyc"))


def test_pips_progress_is_in_a_log(prefix: Path) -> None:
    assert "Successfully installed tinykit-1.0" in prefix.with_name("env.log").read_text()


def test_a_second_call_does_nothing(kit: Path, prefix: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert create_env(kit / "requirements.txt", prefix, log_path=log) == python_in(prefix)
    assert not log.exists(), "no program was run"


def test_a_failing_requirement_is_told_in_pips_words_and_the_next_call_starts_anew(
    kit: Path, tmp_path: Path
) -> None:
    prefix = tmp_path / "env"
    broken = kit / "broken.txt"
    broken.write_text("./not-there-1.0-py3-none-any.whl\n")
    with pytest.raises(WorkerSetupError, match=r"not-there-1\.0.*\n?.*env\.log") as caught:
        create_env(broken, prefix)
    assert "failed with code 1" in str(caught.value)
    assert python_in(prefix).exists(), "it was left incomplete"

    both: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda log: both.append(
                create_env(kit / "requirements.txt", prefix, log_path=log)
            ),
            args=(tmp_path / f"{number}.log",),
        )
        for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both == [python_in(prefix)] * 2
    assert len(list(tmp_path.glob("?.log"))) == 1, "of two callers at once one makes it"


def test_nothing_but_an_environment_is_overwritten(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(WorkerSetupError, match="is not a virtual environment"):
        create_env(kit / "requirements.txt", tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_environment_whose_maker_was_killed_at_its_beginning_is_made_anew(
    tmp_path: Path,
) -> None:
    requirements, prefix = tmp_path / "requirements.txt", tmp_path / "env"
    requirements.write_text("# nothing is needed\n")
    maker = tmp_path / "maker"
    maker.write_text(
        f"""#!/bin/sh
        [ "$3" = venv ] || exit 0
        [ -e {prefix}/lib ] && exit 3
        mkdir -p {prefix}/lib {prefix}/bin
        [ -e {tmp_path}/killed ] || {{ touch {tmp_path}/killed; kill -9 $$; }}
        cp /bin/true {prefix}/bin/python
        """
    )
    maker.chmod(0o755)
    with pytest.raises(WorkerSetupError, match="failed with code"):
        create_env(requirements, prefix, python=str(maker))
    assert (prefix / "lib").is_dir()
    assert create_env(requirements, prefix, python=str(maker)) == python_in(prefix)


def test_missing_requirements_are_told(tmp_path: Path) -> None:
    with pytest.raises(WorkerSetupError, match="cannot be read: No such file"):
        create_env(tmp_path / "requirements.txt", tmp_path / "env")


def test_an_interpreter_to_make_it_with_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerSetupError, match=r"no program 'python4\.2' on PATH"):
        create_env(tmp_path / "requirements.txt", tmp_path / "env", python="python4.2")


def test_the_environment_made_for_the_event_is_the_default(prefix: Path) -> None:
    assert prefix == default_prefix(prefix.parent)
    assert python_for_worker({}, prefix.parent) == python_in(prefix)


def test_an_interpreter_is_given_by_its_path_its_prefix_or_its_name(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path("/nowhere")
    assert python_for_worker({"python": str(python_in(prefix))}, elsewhere) == python_in(prefix)
    assert python_for_worker({"python": str(prefix)}, elsewhere) == python_in(prefix)
    monkeypatch.setenv("PATH", str(prefix / "bin"))
    assert python_for_worker({"python": "python"}, elsewhere) == python_in(prefix)


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ({}, "ramp setup create-env"),
        ({"python": "/nowhere/bin/python"}, "no /nowhere/bin/python"),
        ({"python": "no-such-python"}, "no program 'no-such-python' on PATH"),
        ({"python": __file__}, "cannot be executed"),
        ({"conda_env": "/nowhere/env"}, "create-conda-env"),
    ],
)
def test_a_missing_environment_is_told_with_what_to_do(
    worker: dict[str, str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkerSetupError, match=reason):
        python_for_worker(worker, tmp_path)


def test_the_interpreter_of_these_tests_will_do() -> None:
    assert python_for_worker({"python": sys.executable}, Path("/")) == Path(sys.executable)
