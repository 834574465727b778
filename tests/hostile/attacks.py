"""What must hold of the submissions that attack; what each tries, its docstring says first.

Of all of them it must hold that nothing got out and that they say of nothing that they gained it:
who gains nothing is an honest classifier, and scored. What differs is said here.
"""

from __future__ import annotations

from typing import NamedTuple

SCORED, TRAINING = "scored", "training_error"
VALIDATING, TESTING = "validating_error", "testing_error"


class Attack(NamedTuple):
    """A submission of the set."""

    name: str  #: of its file, without suffix
    states: tuple[str, ...] = (SCORED,)  #: how it may end
    says: str = ""  #: an expression for what its team is told


_READING = (
    "reads_the_configuration", "reads_kit_and_data", "reads_the_labels", "reads_test_data_early",
    "reads_other_submissions", "reads_results_of_others", "reads_homes", "reads_the_database",
    "walks_the_stack", "reads_its_own_memory", "uses_inherited_descriptors", "follows_the_engine",
    "searches_the_disk", "reads_other_processes", "reads_the_environment", "walks_out_of_its_root",
)  # fmt: skip
_TALKING = (
    "calls_a_server", "asks_the_dns", "sends_datagrams", "uses_unix_sockets", "uses_odd_sockets",
)  # fmt: skip
_BREAKING = (
    "traces_its_parent", "makes_namespaces", "mounts", "asks_for_kernel_services",
    "sets_clock_and_name", "opens_kernel_files", "opens_files_by_handle", "makes_devices",
    "runs_setuid_programs", "types_into_the_terminal", "raises_its_priority",
    "calls_by_another_abi", "changes_its_interpreter", "raises_its_limits", "signals_its_parents",
    "signals_everybody", "memory_in_nameless_files", "memory_in_shared_segments",
)  # fmt: skip
_TAMPERING = (
    "patches_ramp_workflow", "writes_into_the_kit", "writes_into_the_environment",
    "writes_into_its_submission", "leaves_state_for_the_next_fold", "preloads_into_others",
)  # fmt: skip
_LINGERING = (
    "works_at_exit", "outlives_its_fold", "holds_on_by_descriptors", "reads_stdin",
    "starts_threads", "memory_in_temporary_files", "memory_in_sockets", "folders_of_one_letter",
    "closes_its_folders", "names_files_badly", "talks_without_end",
)  # fmt: skip

_ENDED_ITSELF = "ended its own process"
_NO_PREDICTIONS = "[Pp]redictions"
_ENDING = (
    Attack("exits_with_zero", (TRAINING,), _ENDED_ITSELF),
    Attack("exits_by_sys_exit", (TRAINING,), "SystemExit"),
    Attack("exits_like_the_engine", (TRAINING,), _ENDED_ITSELF),
    Attack("becomes_another_program", (TRAINING,), _ENDED_ITSELF),
    Attack("stops_itself", (TRAINING,), "out of time"),
    Attack("recurses_in_python", (TRAINING,)),  # by its stack, or by its memory
    Attack("recurses_in_c", (TRAINING,)),
    Attack("crashes_the_interpreter", (TRAINING,), "SIGSEGV"),
    Attack("raises_a_hostile_exception", (TRAINING,)),
    Attack("raises_a_bare_exception", (TRAINING,), "Hostile"),
    Attack("talks_no_text", (TRAINING,), "ValueError"),
    Attack("talks_no_text_while_testing", (TESTING,), "ValueError"),
    Attack("farms_zombies", (SCORED, TRAINING), ""),  # they count as processes until it buries them
    Attack("patches_the_library", (SCORED, TRAINING, VALIDATING, TESTING)),
    Attack("sends_descriptors", (SCORED, TESTING)),  # who forges the release has no test data yet
    Attack("patches_time", (TESTING,)),
)
_FORGING = (
    *(
        Attack(f"predictions_are_{what}", (TESTING,))
        for what in (
            "a_link", "a_hard_link", "a_fifo", "a_socket", "a_folder", "a_device", "sparse",
            "a_bomb", "pickled", "deep_json", "a_json_bomb", "lists_of_nothing",
        )
    ),
    *(
        Attack(f"predictions_{what}", (TESTING,), _NO_PREDICTIONS)
        for what in (
            "claim_a_giant_shape", "have_a_giant_header", "have_a_deep_header",
            "have_many_members", "collide",
        )
    ),
    Attack("output_folder_is_replaced", (TESTING,)),
    Attack("predictions_of_training_are_changed", (SCORED, TESTING)),
    Attack("forges_scores"),
    Attack("predicts_nan", (VALIDATING, TESTING), "NaN"),
    Attack("predicts_a_wrong_shape", (TESTING,), "shape"),
    Attack("predicts_by_a_hostile_array", (SCORED, VALIDATING)),
    Attack("predicts_records", (SCORED, VALIDATING)),
)  # fmt: skip

ATTACKS = (
    *(Attack(name) for name in (*_READING, *_TALKING, *_BREAKING, *_TAMPERING, *_LINGERING)),
    *_ENDING,
    *_FORGING,
)

#: Names that a submission may be given where it comes in (`ramp submit --name`). Each is stored as
#: it is, or refused in one line; none of them is ever a path, nor written to a terminal as it is.
SUBMISSION_NAMES = (
    "../../etc/cron.d/x", "..", ".", "", " ", "/etc/passwd", "a/b", "a\\b", "a b",
    "'; DROP TABLE x;--", '"quoted"', "line\nbreak", "tab\there", "\x1b]0;owned\x07\x1b[2J", "-rf",
    "--help", "$(reboot)", "`id`", "%s%n{0}", "\xe9" * 300, "a" * 5000, "\ud800", "\u202egnp.exe",
    "submission_000000001",
)  # fmt: skip
#: Names that files of a submission may have, in a folder, a .zip or a .tar.gz.
FILE_NAMES = (
    "../estimator.py", "/etc/cron.d/x", "a/../../x.py", "..\\x.py", "C:\\x.py", "line\nbreak.py",
    "\x1b[2J.py", "a" * 300 + ".py", "a/" * 100 + "x.py", "-rf", "with 'quotes\".py", "\xe9.py",
    "e\u0301.py", "con.py", "estimator.py ", "ESTIMATOR.PY", ".hidden.py", "sitecustomize.py",
    "__pycache__/estimator.cpython-311.pyc", "training_output/fold_0/scores.csv",
)  # fmt: skip
