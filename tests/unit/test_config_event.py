"""An event's config.yml."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from ramp_engine import config_sections
from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import ConfigErrors, PluginError
from ramp_engine.preparation import trusted_python
from ramp_engine.sandbox import SandboxKeys

LEAST = "ramp: {problem_name: iris, event_name: iris_test}\nworker: {worker_type: local}\n"

#: The example of RAMP's documentation, section "Event configuration".
AWS = """\
ramp:
    problem_name: iris
    event_name: iris_ramp_aws_test
    event_title: "iris ramp aws test"
    event_is_public: true
worker:
    worker_type: aws
    access_key_id: AKIA
    secret_access_key: hunter2
    region_name: us-west-2 # oregon
    ami_image_name: image
    ami_user_name: ubuntu
    instance_type: t2.micro
    use_spot_instance: false
    key_name: iris_key
    security_group: launch-wizard-103
    key_path: my_path/iris_key.pem
    remote_ramp_kit_folder: /home/ubuntu/ramp-kits/iris
    submissions_dir: /home/ramp/ramp_deployment/events/iris_aws/submissions
    predictions_dir: /home/ramp/ramp_deployment/events/iris_aws/predictions
    logs_dir: /home/ramp/ramp_deployment/events/iris_aws/logs
    memory_profiling: false
dispatcher:
    hunger_policy: sleep
    n_workers: 5
    n_threads: 2
    time_between_collection: 60
"""

DASK = """\
ramp: {problem_name: iris, event_name: iris}
worker:
  worker_type: dask
  conda_env: ramp-iris
  dask_scheduler: "tcp://127.0.0.1:8786"
  n_workers: 4
"""


@pytest.fixture
def event_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "deployment" / "events" / "iris"
    directory.mkdir(parents=True)
    return directory


def load(event_dir: Path, text: str, **options: Any) -> EventConfig:
    (event_dir / "config.yml").write_text(text)
    return load_event(event_dir / "config.yml", **options)


def problems(event_dir: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(event_dir, text, **options)
    return [str(error).partition("config.yml:")[2] for error in caught.value.errors]


def test_the_least_file_gets_the_defaults(event_dir: Path) -> None:
    config = load(event_dir, LEAST)
    deployment = event_dir.parent.parent
    assert config.ramp.event_title == "iris_test"
    assert config.ramp.event_is_public is True
    assert config.ramp.data_label is None
    assert config.ramp.kit_dir == deployment / "ramp-kits" / "iris"
    assert config.ramp.data_dir == deployment / "ramp-data" / "iris"
    assert config.ramp.sandbox_dir == config.ramp.kit_dir / "submissions" / "starting_kit"
    assert config.ramp.submissions_dir == event_dir / "submissions"
    assert config.ramp.predictions_dir == event_dir / "predictions"
    assert config.ramp.logs_dir == event_dir / "logs"
    assert config.ramp.work_dir == event_dir / "work"
    assert (config.worker_type, config.worker) == ("local", {})
    assert (
        config.evaluation.python,
        config.evaluation.conda_env,
        config.dispatcher.hunger_policy,
    ) == (None, None, None)
    assert (config.dispatcher.n_workers, config.dispatcher.max_attempts) == (1, 3)
    assert (config.dispatcher.time_between_collection, config.dispatcher.timeout) == (1, 7200)
    assert (config.dispatcher.heartbeat_seconds, config.dispatcher.stale_after_seconds) == (5, 60)
    assert config.dispatcher.stalled_after_seconds == 30


def test_the_events_own_kit_and_data_come_first(event_dir: Path) -> None:
    (event_dir / "kit").mkdir()
    (event_dir / "data").mkdir()
    config = load(event_dir, LEAST)
    assert (config.ramp.kit_dir, config.ramp.data_dir) == (event_dir / "kit", event_dir / "data")


def test_the_deployments_folder_may_be_elsewhere(event_dir: Path, tmp_path: Path) -> None:
    config = load(event_dir, LEAST, deployment_dir=tmp_path / "other")
    assert config.ramp.kit_dir == tmp_path / "other" / "ramp-kits" / "iris"


def test_the_aws_example_of_the_documentation_is_taken(event_dir: Path) -> None:
    config = load(event_dir, AWS)
    home = Path("/home/ramp/ramp_deployment/events/iris_aws")
    assert config.ramp.submissions_dir == home / "submissions"
    assert config.ramp.predictions_dir == home / "predictions"
    assert config.ramp.logs_dir == home / "logs"
    assert config.ramp.event_title == "iris ramp aws test"
    assert (
        config.dispatcher.hunger_policy,
        config.dispatcher.n_workers,
        config.dispatcher.n_threads,
    ) == ("sleep", 5, 2)
    assert config.dispatcher.time_between_collection == 60
    keys = {
        "access_key_id": "AKIA",
        "secret_access_key": "hunter2",
        "region_name": "us-west-2",
        "ami_image_name": "image",
        "ami_user_name": "ubuntu",
        "instance_type": "t2.micro",
        "use_spot_instance": False,
        "key_name": "iris_key",
        "security_group": "launch-wizard-103",
        "key_path": "my_path/iris_key.pem",
        "remote_ramp_kit_folder": "/home/ubuntu/ramp-kits/iris",
        "memory_profiling": False,
    }
    assert config.worker == keys
    assert keys.items() <= config.worker_config().items()


def test_the_dask_example_of_the_documentation_is_taken(event_dir: Path) -> None:
    config = load(event_dir, DASK)
    assert config.dispatcher.n_workers == 4
    assert config.worker == {"conda_env": "ramp-iris", "dask_scheduler": "tcp://127.0.0.1:8786"}


def test_a_worker_gets_a_plain_dict(event_dir: Path) -> None:
    config = load(event_dir, LEAST + "dispatcher: {n_threads: 3, timeout: 60}\n").worker_config()
    assert config["submissions_dir"] == str(event_dir / "submissions")
    assert config["work_dir"] == str(event_dir / "work")
    assert (config["n_threads"], config["timeout"]) == (3, 60)
    assert config["worker_type"] == "local"
    json.dumps(config)


def test_secrets_are_masked_where_the_config_is_printed(event_dir: Path) -> None:
    printed = json.dumps(load(event_dir, AWS).to_printable())
    assert "hunter2" not in printed
    assert "AKIA" not in printed
    assert "launch-wizard-103" in printed


def test_what_is_printed_has_the_sections_of_the_file(event_dir: Path) -> None:
    printed = load(event_dir, DASK).to_printable()
    assert set(printed) == {"ramp", "worker", "evaluation", "dispatcher"}
    assert printed["ramp"]["event_name"] == "iris"
    assert printed["dispatcher"]["n_workers"] == 4
    assert printed["worker"]["worker_type"] == "dask"


def test_paths_are_relative_to_the_file(event_dir: Path) -> None:
    config = load(
        event_dir,
        "ramp: {problem_name: p, event_name: e, kit_dir: ../../kits/p, logs_dir: /var/log/ramp}\n"
        "worker: {worker_type: local, python: env/bin/python}\n"
        "evaluation: {conda_env: ./conda}\n",
    )
    assert config.ramp.kit_dir == event_dir.parent.parent / "kits" / "p"
    assert config.ramp.logs_dir == Path("/var/log/ramp")
    assert config.worker["python"] == str(event_dir / "env" / "bin" / "python")
    assert config.evaluation.conda_env == str(event_dir / "conda")


def test_bare_names_of_programs_and_environments_stay(event_dir: Path) -> None:
    config = load(event_dir, LEAST.replace("}\nworker: {", "}\nworker: {python: python3.11, "))
    assert config.worker["python"] == "python3.11"


@pytest.mark.parametrize(
    ("sandbox", "expected"),
    [("mine", "kit/submissions/mine"), ("./mine", "mine"), ("a/b", "a/b"), ("/x", "/x")],
)
def test_the_starting_kit_is_a_name_or_a_path(event_dir: Path, sandbox: str, expected: str) -> None:
    text = f"ramp: {{problem_name: p, event_name: e, kit_dir: kit, sandbox_dir: {sandbox}}}\n"
    config = load(event_dir, text + "worker: {worker_type: local}\n")
    assert config.ramp.sandbox_dir == event_dir / expected


@pytest.mark.parametrize("name", ["a", "A.b-c_1", "2026", "x" * 100])
def test_names_that_are_fine(event_dir: Path, name: str) -> None:
    text = LEAST.replace("iris_test", f'"{name}"')
    assert load(event_dir, text).ramp.event_name == name


@pytest.mark.parametrize("name", [".a", "a b", "a/b", "..", "", "é", "x" * 101, "a\\n"])
def test_names_that_are_told(event_dir: Path, name: str) -> None:
    (text,) = problems(event_dir, LEAST.replace("iris_test", f'"{name}"'))
    assert "ramp.event_name: expected a name of letters, digits" in text


@pytest.mark.parametrize(
    ("n_workers", "n_cores", "expected"),
    [(1, 4, 1), (9, 4, 9), (-1, 4, 4), (-2, 4, 3), (-4, 4, 1), (-9, 4, 1)],
)
def test_negative_numbers_of_workers_count_from_the_cores(
    event_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_workers: int,
    n_cores: int,
    expected: int,
) -> None:
    monkeypatch.setattr(config_sections, "n_cores", lambda: n_cores)
    assert (
        load(event_dir, LEAST + f"dispatcher: {{n_workers: {n_workers}}}\n").dispatcher.n_workers
        == expected
    )
    assert load(event_dir, LEAST, n_workers=n_workers).dispatcher.n_workers == expected


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{n_workers: 2}", 4),
        ("{n_workers: 3}", 2),
        ("{n_workers: 99}", 1),
        ("{n_threads: 5}", 5),
        ("{n_threads: null}", None),
    ],
)
def test_threads_are_the_cores_shared_by_the_workers(
    event_dir: Path, monkeypatch: pytest.MonkeyPatch, section: str, expected: int | None
) -> None:
    monkeypatch.setattr(config_sections, "n_cores", lambda: 8)
    assert load(event_dir, LEAST + f"dispatcher: {section}\n").dispatcher.n_threads == expected


@pytest.mark.parametrize(
    ("worker", "section", "expected"),
    [
        ("local", "{n_workers: 2}", 4),
        ("local", "{n_workers: 99}", 1),
        ("local", "{n_workers: 2, n_threads: 3}", 3),
        ("local", "{n_workers: 2, n_threads: 9}", 4),
        ("local", "{n_workers: 2, n_threads: 3, n_jobs_per_submission: 6}", 6),
        ("local, gpus: 1", "{n_workers: 2}", 1),
        ("local, gpus: 2", "{n_jobs_per_submission: 2}", 2),
    ],
)
def test_folds_at_once_are_the_cores_of_a_worker_but_share_no_gpu_unasked(
    event_dir: Path, monkeypatch: pytest.MonkeyPatch, worker: str, section: str, expected: int
) -> None:
    monkeypatch.setattr(config_sections, "n_cores", lambda: 8)
    text = LEAST.replace("local}", f"{worker}}}") + f"dispatcher: {section}\n"
    config = load(event_dir, text)
    assert config.worker_config()["n_jobs_per_submission"] == expected
    assert config.to_printable()["dispatcher"]["n_jobs_per_submission"] == expected


def test_a_number_of_workers_from_elsewhere_shares_the_cores_as_well(
    event_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_sections, "n_cores", lambda: 8)
    config = load(event_dir, LEAST + "dispatcher: {n_workers: 8}\n", n_workers=2)
    assert (config.dispatcher.n_workers, config.dispatcher.n_threads) == (2, 4)


@pytest.mark.parametrize("key", ["timeout", "n_workers"])
def test_one_value_in_two_places_is_fine(event_dir: Path, key: str) -> None:
    text = LEAST.replace("local}", f"local, {key}: 7}}") + f"dispatcher: {{{key}: 7}}\n"
    assert getattr(load(event_dir, text).dispatcher, key) == 7


def test_one_directory_in_two_places_is_fine(event_dir: Path) -> None:
    text = LEAST.replace("iris_test}", "iris_test, logs_dir: there}")
    text = text.replace("local}", "local, logs_dir: ./there/}")
    assert load(event_dir, text).ramp.logs_dir == event_dir / "there"


def test_two_values_in_two_places_are_told_with_both_lines(event_dir: Path) -> None:
    text = (
        "ramp:\n  problem_name: p\n  event_name: e\n  logs_dir: here\n"
        "worker:\n  worker_type: local\n  timeout: 60\n  logs_dir: there\n"
        "dispatcher:\n  timeout: 90\n"
    )
    assert problems(event_dir, text) == [
        "7: worker.timeout: expected what dispatcher.timeout says in line 10: 90, found 60",
        "8: worker.logs_dir: expected what ramp.logs_dir says in line 4: 'here', found 'there'",
    ]


def test_the_older_name_of_the_interval_is_read(event_dir: Path) -> None:
    text = LEAST.replace("local}", "local, check_status_interval_secs: 30}")
    assert load(event_dir, text).dispatcher.time_between_collection == 30


def test_a_moved_key_is_told_by_the_name_that_it_has_in_the_file(event_dir: Path) -> None:
    text = LEAST.replace("local}", "local, n_workers: two}")
    (message,) = problems(event_dir, text)
    assert message.startswith("2: worker.n_workers: expected a whole number that is not 0")
    assert message.endswith("found 'two'")


def test_every_problem_is_told_at_once_in_the_order_of_the_lines(event_dir: Path) -> None:
    text = (
        "ramp:\n"
        "  problem_name: iris\n"
        "  event_nam: iris\n"
        "  event_is_public: perhaps\n"
        "worker:\n"
        "  worker_type: local\n"
        "  timeout: soon\n"
        "dispatcher:\n"
        "  hunger_policy: eat\n"
        "  n_workers: 0\n"
        "  n_threads: two\n"
        "  time_between_collection: -1\n"
        "  max_attempts: true\n"
        "  n_wrokers: 1\n"
        "  event_title: x\n"
        "evaluaton: {}\n"
    )
    assert problems(event_dir, text) == [
        "3: ramp.event_nam: expected a known key, found 'event_nam'; did you mean 'event_name'?",
        "4: ramp.event_is_public: expected true or false, found 'perhaps'",
        "7: worker.timeout: expected a number above 0, found 'soon'",
        "9: dispatcher.hunger_policy: expected 'sleep', 'exit' or null, found 'eat'",
        (
            "10: dispatcher.n_workers: expected a whole number that is not 0 "
            "(-1: all cores, -2: all but one), found 0"
        ),
        "11: dispatcher.n_threads: expected a whole number of at least 1 or null, found 'two'",
        "12: dispatcher.time_between_collection: expected a number above 0, found -1",
        "13: dispatcher.max_attempts: expected a whole number of at least 1, found true",
        (
            "14: dispatcher.n_wrokers: expected a known key, found 'n_wrokers'; "
            "did you mean 'n_workers'?"
        ),
        (
            "15: dispatcher.event_title: expected a known key, found 'event_title'; "
            "did you mean 'ramp.event_title'?"
        ),
        "16: evaluaton: expected a known key, found 'evaluaton'; did you mean 'evaluation'?",
    ]


def test_missing_sections_are_told_by_the_keys_that_they_lack(event_dir: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(event_dir, "dispatcher: {}\n")
    keys = {error.key: error.found for error in caught.value.errors}
    assert keys == dict.fromkeys(
        ("ramp.problem_name", "ramp.event_name", "worker.worker_type"), "nothing"
    )


def test_a_section_that_is_none_is_told(event_dir: Path) -> None:
    messages = problems(event_dir, "ramp: iris\nworker: [a]\ndispatcher: 3\n")
    assert messages == [
        "1: ramp: expected a section of keys, found 'iris'",
        "2: worker: expected a section of keys, found a list",
        "3: dispatcher: expected a section of keys, found 3",
    ]


@pytest.mark.parametrize("value", [".inf", ".nan", "0", "-3", "'soon'", "[1]", "null", "true"])
def test_times_that_are_told(event_dir: Path, value: str) -> None:
    (message,) = problems(event_dir, LEAST + f"dispatcher:\n  timeout: {value}\n")
    assert message.startswith("4: dispatcher.timeout: expected a number")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{stale_after_seconds: 10}",
            (
                "stale_after_seconds: expected at least 15, which is 3 times heartbeat_seconds, "
                "found 10"
            ),
        ),
        (
            "{heartbeat_seconds: 30}",
            (
                "stale_after_seconds: expected at least 90, which is 3 times heartbeat_seconds, "
                "found 60 (the default)"
            ),
        ),
        (
            "{stalled_after_seconds: 61}",
            (
                "stalled_after_seconds: expected a number from 5 (heartbeat_seconds) to 60 "
                "(stale_after_seconds), found 61"
            ),
        ),
        (
            "{stalled_after_seconds: 1}",
            (
                "stalled_after_seconds: expected a number from 5 (heartbeat_seconds) to 60 "
                "(stale_after_seconds), found 1"
            ),
        ),
    ],
)
def test_the_times_of_a_heartbeat_are_held_against_each_other(
    event_dir: Path, section: str, message: str
) -> None:
    assert problems(event_dir, LEAST + f"dispatcher: {section}\n") == [f"3: dispatcher.{message}"]


def test_a_loop_counts_as_stalled_at_half_the_stale_limit(event_dir: Path) -> None:
    config = load(event_dir, LEAST + "dispatcher: {stale_after_seconds: 20}\n")
    assert config.dispatcher.stalled_after_seconds == 10


def test_the_trusted_steps_have_one_environment(event_dir: Path) -> None:
    (message,) = problems(event_dir, LEAST + "evaluation: {python: a, conda_env: b}\n")
    assert "either python or conda_env and not both" in message


def test_validation_labels_are_shown_unless_hidden(event_dir: Path) -> None:
    assert load(event_dir, LEAST).evaluation.hide_validation_labels is False
    config = load(event_dir, LEAST + "evaluation: {hide_validation_labels: true}\n")
    assert config.evaluation.hide_validation_labels is True
    assert config.to_printable()["evaluation"]["hide_validation_labels"] is True


def test_folds_are_forked_from_servers_unless_that_is_off(event_dir: Path) -> None:
    assert load(event_dir, LEAST).worker_config()["fold_server"] is True
    config = load(event_dir, LEAST + "evaluation: {fold_server: off}\n")
    assert config.worker_config()["fold_server"] is False


def test_what_is_kept_of_predictions_is_the_organisers_choice(event_dir: Path) -> None:
    chosen = load(event_dir, LEAST + "evaluation: {predictions: test-only}\n").evaluation
    assert (chosen.predictions, chosen.compress_predictions) == ("test-only", True)
    with pytest.raises(ConfigErrors, match=r"evaluation\.predictions"):
        load(event_dir, LEAST + "evaluation: {predictions: none}\n")


@pytest.mark.parametrize("value", ["sometimes", "2", "[]", "null"])
def test_hiding_validation_labels_is_yes_or_no(event_dir: Path, value: str) -> None:
    text = f"evaluation: {{hide_validation_labels: {value}}}\n"
    (message,) = problems(event_dir, LEAST + text)
    assert message.startswith("3: evaluation.hide_validation_labels: expected true or false")


def test_a_misspelt_key_of_the_trusted_steps_is_told(event_dir: Path) -> None:
    (message,) = problems(event_dir, LEAST + "evaluation: {hide_validation_label: true}\n")
    assert "did you mean 'hide_validation_labels'?" in message


def test_hiding_labels_names_no_environment(event_dir: Path) -> None:
    text = f"worker: {{worker_type: local, python: {sys.executable}}}\n"
    ramp = LEAST.splitlines(keepends=True)[0]
    assert ramp.startswith("ramp:")
    config = load(event_dir, ramp + text + "evaluation: {hide_validation_labels: true}\n")
    assert trusted_python(config) == Path(sys.executable)


def test_an_environment_has_a_name(event_dir: Path) -> None:
    (message,) = problems(event_dir, LEAST + "evaluation: {python: ''}\n")
    assert message.startswith("3: evaluation.python: expected text that is not empty")


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")
    worker_type: str = "x"
    host: str
    port: int = 22
    timeout: float | None = None
    key_path: Path | None = None


def test_the_keys_of_a_worker_pass_its_model(event_dir: Path) -> None:
    text = LEAST.replace("local}", "local, host: h, port: '2222', key_path: a.pem}")
    config = load(event_dir, text, worker_model=lambda _: _Keys)
    assert config.worker["port"] == 2222
    assert "timeout" not in config.worker
    assert config.worker["key_path"] == event_dir / "a.pem"


def test_problems_of_a_workers_keys_are_told_with_the_others(event_dir: Path) -> None:
    text = (
        "ramp: {problem_name: p}\nworker:\n  worker_type: x\n  prot: 3\n  port: a\n  timeout: 5\n"
    )
    assert problems(event_dir, text, worker_model=lambda _: _Keys) == [
        (
            "1: ramp.event_name: expected a name of letters, digits, '.', '_' and '-', not "
            "starting with '.', of at most 100, as this key is required, found nothing"
        ),
        "2: worker.host: expected text, as this key is required, found nothing",
        "4: worker.prot: expected a known key, found 'prot'; did you mean 'port'?",
        "5: worker.port: expected a whole number, found 'a'",
    ]


def test_a_model_that_has_a_moved_key_gets_it(event_dir: Path) -> None:
    class Keys(BaseModel):
        timeout: float

    config = load(
        event_dir, LEAST.replace("local}", "local, timeout: 5}"), worker_model=lambda _: Keys
    )
    assert config.dispatcher.timeout == 5


def test_an_unknown_type_of_worker_is_told_with_the_known_ones(event_dir: Path) -> None:
    def model(name: str) -> type[BaseModel] | None:
        raise PluginError(name, "there is no such worker", ["conda", "local"])

    text = LEAST.replace("local", "locla")
    assert problems(event_dir, text, worker_model=model) == [
        (
            "2: worker.worker_type: expected a known type of worker (conda, local), found 'locla'; "
            "did you mean 'local'?"
        )
    ]


def test_limits_are_read_and_times_name_their_zone(event_dir: Path) -> None:
    text = LEAST.replace(
        "event_name: iris_test",
        "event_name: iris_test, opening_timestamp: 2026-11-21T18:00:00+01:00,"
        " closing_timestamp: '2026-11-22T17:00:00Z', max_submissions_per_day: 3,"
        " min_duration_between_submissions: 900, max_submission_mb: 0.5",
    )
    ramp = load(event_dir, text).ramp
    assert ramp.opening_timestamp == datetime(2026, 11, 21, 17, tzinfo=UTC)
    assert ramp.closing_timestamp == datetime(2026, 11, 22, 17, tzinfo=UTC)
    assert (ramp.max_submissions_per_day, ramp.max_submission_mb) == (3, 0.5)
    assert ramp.min_duration_between_submissions == 900
    assert ramp.fair_share_window_hours == 24


@pytest.mark.parametrize("given", ["2026-11-21 18:00:00", "2026-11-21", "1795284000", "soon"])
def test_a_time_without_a_zone_is_a_problem(event_dir: Path, given: str) -> None:
    text = LEAST.replace("event_name: iris_test", f"event_name: a, opening_timestamp: {given}")
    (problem,) = problems(event_dir, text)
    assert "ramp.opening_timestamp: expected a time with its zone, such as" in problem


def test_an_event_closes_after_it_opens(event_dir: Path) -> None:
    times = "opening_timestamp: 2026-11-21T18:00:00Z, closing_timestamp: 2026-11-21T17:00:00Z"
    (problem,) = problems(event_dir, LEAST.replace("event_name", f"{times}, event_name"))
    assert "ramp.closing_timestamp: expected a time after opening_timestamp" in problem


def test_paths_in_a_list_are_taken_from_the_events_folder_and_printed(event_dir: Path) -> None:
    worker = "local, sandbox: off, extra_read_paths: [models, /opt/data]}"
    config = load(event_dir, LEAST.replace("local}", worker), worker_model=lambda _: SandboxKeys)
    paths = [event_dir / "models", Path("/opt/data")]
    assert config.worker["extra_read_paths"] == paths
    assert config.worker["sandbox"] == "off"
    printed = config.to_printable()["worker"]["extra_read_paths"]
    assert printed == [str(path) for path in paths]
