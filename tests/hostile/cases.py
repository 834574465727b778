"""Which submissions there are in ``submissions/``, and what must hold of each.

What each tries is the first line of its docstring. At the strongest level all must hold. What a
weaker level does not hold is said here with its reason, and tested as well: a case that is held
after all fails its test, so that the table in ``doc/explanation/hostile-set.md`` stays true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.hostile import holds
from tests.hostile.holds import Predicate

SUBMISSIONS = Path(__file__).parent / "submissions"

#: The limits of a fold in the arena.
LIMITS = {
    "memory_mb": 1024, "processes": 64, "threads": 500, "file_mb": 64, "output_mb": 80,
    "n_files": 5000, "fold_seconds": 40, "cpu_seconds": 3, "log_mb": 2,
    "open_files": 512, "tmp_mb": 64,
}  # fmt: skip

TRAINING, VALIDATING, TESTING = "training_error", "validating_error", "testing_error"
SCORED = "scored"


@dataclass(frozen=True)
class Case:
    """A hostile submission."""

    name: str  #: of its file, without suffix
    states: tuple[str, ...]  #: how it may end
    says: str = ""  #: an expression for what its team is told
    holds: tuple[Predicate, ...] = ()  #: what must hold besides what must hold of all
    weaker: Mapping[str, str] = field(default_factory=dict)  #: by level, why it is not held there
    is_by_machine: bool = False  #: whether a weaker level may hold it, by luck of the machine
    only_looks: bool = False  #: it is over when it has looked around: what comes later is left out

    @property
    def path(self) -> Path:
        return SUBMISSIONS / f"{self.name}.py"


_LIMITS = [
    Case("memory_in_one_process", (TRAINING,), r"out of memory: [\d.]+ [GM]B of 1 GB in fold 0"),
    Case("memory_in_ten_processes", (TRAINING,), r"out of memory: [\d.]+ [GM]B of 1 GB in fold 0"),
    Case(
        "memory_while_testing",
        (TESTING,),
        r"out of memory: [\d.]+ [GM]B of 1 GB in fold 0, predicting the test data",
    ),
    Case("memory_in_files", (TRAINING,), "a file is too large: 64 MB of 64 MB in fold 0"),
    Case("memory_in_tmp", (TRAINING,)),  # by the size of a file, or there is no such place
    Case("fork_bomb", (TRAINING,), r"too many processes: \d+ of 64 in fold 0, training"),
    Case("daemons", (TRAINING,), r"too many processes: \d+ of 64 in fold 0, training"),
    *(
        Case(name, (TRAINING,), r"too many threads: \d+ of 500 in fold 0, training")
        for name in ("starts_threads", "thread_bomb")
    ),
    Case(
        "large_file",
        (TRAINING,),
        r"a file is too large: 64 MB of 64 MB in fold 0, training(.|\n)*estimator\.py, line \d+",
    ),
    Case(
        "large_file_by_a_program",
        (SCORED,),
        holds=(holds.log_says("its file has 67108864 bytes"), holds.scored_as_guessed),
    ),
    Case("much_output", (TRAINING,), r"too much output: [\d.]+ MB of 80 MB in fold 0, training"),
    Case(
        "much_output_at_the_end",
        (TRAINING, VALIDATING, TESTING),
        r"too much output: [\d.]+ MB of 80 MB",
    ),
    Case("hidden_files", (TRAINING,), r"too much output: [\d.]+ MB of 80 MB in fold 0, training"),
    Case("many_files", (TRAINING,), r"too many files: \d+ of 5000 in fold 0, training"),
    Case("deep_folders", (TRAINING,), r"a path is too long: \d+ bytes of \d+ bytes in fold 0"),
    Case("sleeps", (TRAINING,), r"out of time: [\d.]+ s of 40 s in fold 0, training"),
    Case(
        "sleeps_while_testing",
        (TESTING,),
        r"out of time: [\d.]+ s of 40 s in fold 0, predicting the test data",
    ),
    *(
        Case(name, (TRAINING,), r"out of CPU time: [\d.]+ s of 3 s in fold 0, training")
        for name in ("busy", "busy_as_an_orphan", "busy_in_processes", "busy_without_trace")
    ),
    Case("long_log", (SCORED,), holds=(holds.log_is_cut,)),
]

_LEAKS = [
    Case(name, (SCORED,), holds=(holds.test_data_stay_private, holds.scored_as_guessed))
    for name in (
        "leak_by_copied_descriptors",
        "leak_by_a_thread",
        "leak_by_a_process",
        "leak_by_training_predictions",
        "leak_left_behind",
    )
] + [
    Case(
        "leak_by_times",
        (SCORED,),
        holds=(holds.test_data_stay_private, holds.trained_for_a_moment),
    ),
    Case("leak_by_files", (TESTING,), holds=(holds.test_data_stay_private,)),
    Case(
        "forges_the_release",
        (VALIDATING,),
        "they were not there when the code was done",
        holds=(holds.public_never_says("petal_width"),),
    ),
    Case("hides_training_predictions", (VALIDATING,), "y_pred_train.npz is not a regular file"),
    Case("closes_descriptors", (VALIDATING,), "closed file descriptors"),
    Case(
        "talks_nonsense",
        (VALIDATING, TESTING),
        holds=(holds.public_never_says("petal_width"), holds.log_says("while training")),
    ),
]

_LOOKING = [
    Case(name, (TRAINING,), "RuntimeError: that was all", only_looks=True)
    for name in (
        "asks_for_kernel_services",
        "asks_the_dns",
        "calls_a_server",
        "calls_by_another_abi",
        "changes_its_interpreter",
        "follows_the_engine",
        "makes_devices",
        "makes_namespaces",
        "mounts",
        "opens_files_by_handle",
        "opens_kernel_files",
        "preloads_into_others",
        "raises_its_limits",
        "raises_its_priority",
        "reads_homes",
        "reads_its_own_memory",
        "reads_kit_and_data",
        "reads_other_processes",
        "reads_other_submissions",
        "reads_results_of_others",
        "reads_stdin",
        "reads_test_data_early",
        "reads_the_configuration",
        "reads_the_database",
        "reads_the_environment",
        "reads_the_labels",
        "runs_setuid_programs",
        "searches_the_disk",
        "sends_datagrams",
        "sends_descriptors",
        "sets_clock_and_name",
        "signals_everybody",
        "signals_its_parents",
        "traces_its_parent",
        "types_into_the_terminal",
        "uses_inherited_descriptors",
        "uses_odd_sockets",
        "uses_unix_sockets",
        "walks_out_of_its_root",
        "walks_the_stack",
        "writes_into_the_environment",
        "writes_into_the_kit",
    )
]

_ENDED_ITSELF = "ended its own process"

_ENDING = [
    Case("ends_like_ramp", (TRAINING,), r"ended its own process \(exit code 70\)"),
    Case("exits_with_zero", (TRAINING,), _ENDED_ITSELF),
    Case("exits_by_sys_exit", (TRAINING,), "SystemExit"),
    Case("exits_like_the_engine", (TRAINING,), _ENDED_ITSELF),
    Case("becomes_another_program", (TRAINING,), _ENDED_ITSELF),
    Case("stops_itself", (TRAINING,), "out of time: .* of 40 s in fold 0, training"),
    Case("recurses_in_python", (TRAINING,)),  # by its stack, or by its memory
    Case("recurses_in_c", (TRAINING,)),
    Case("crashes_the_interpreter", (TRAINING,), "SIGSEGV"),
    Case("raises_a_hostile_exception", (TRAINING,)),
    Case("raises_a_bare_exception", (TRAINING,), "Hostile"),
    Case("talks_no_text", (TRAINING,), "ValueError"),
    Case("talks_no_text_while_testing", (TESTING,), "ValueError"),
    Case("farms_zombies", (SCORED, TRAINING)),  # they count as processes until it buries them
    Case("patches_the_library", (SCORED, TRAINING, VALIDATING, TESTING)),
    Case("patches_time", (VALIDATING, TESTING)),
]

_FORGING = [
    *(
        Case(f"predictions_are_{what}", (TESTING,))
        for what in (
            "a_bomb",
            "a_device",
            "a_fifo",
            "a_folder",
            "a_hard_link",
            "a_json_bomb",
            "a_link",
            "a_socket",
            "deep_json",
            "lists_of_nothing",
            "pickled",
            "sparse",
        )
    ),
    *(
        Case(f"predictions_{what}", (TESTING,), "[Pp]redictions")
        for what in (
            "claim_a_giant_shape",
            "collide",
            "have_a_deep_header",
            "have_a_giant_header",
            "have_many_members",
        )
    ),
    Case("output_folder_is_replaced", (TESTING,)),
    Case("predictions_of_training_are_changed", (SCORED, TESTING)),
    Case("forges_scores", (SCORED,), holds=(holds.no_better_than_a_guess_at_the_test,)),
    Case("predicts_nan", (VALIDATING, TESTING), "NaN"),
    Case("predicts_a_wrong_shape", (TESTING,), "shape"),
    Case("predicts_by_a_hostile_array", (SCORED, VALIDATING)),
    Case("predicts_records", (SCORED, VALIDATING)),
]

_LINGERING = [
    Case("memory_in_nameless_files", (SCORED, TRAINING)),  # refused, or counted as memory
    Case("memory_in_shared_segments", (SCORED, TRAINING)),
    Case("memory_in_temporary_files", (SCORED, TRAINING)),
    *(
        Case(name, (SCORED,))
        for name in (
            "closes_its_folders",
            "folders_of_one_letter",
            "holds_on_by_descriptors",
            "leaves_state_for_the_next_fold",
            "memory_in_sockets",
            "names_files_badly",
            "outlives_its_fold",
            "patches_ramp_workflow",
            "talks_without_end",
            "works_at_exit",
            "writes_into_its_submission",
        )
    ),
]

_READS_ALL = "reads what the user may read"
_CALLS = "system calls are not filtered"
_CONNECTS = "the network is open"
_SOCKETS = "sockets of services are reached"

#: By level, what is not held there, and why.
_NOT_HELD: dict[str, dict[str, str]] = {
    "landlock": {
        "opens_kernel_files": "/proc is readable",
        "reads_other_processes": "how many files a program of another submission has open is seen",
        "reads_test_data_early": "the bundle is readable from the beginning",
        "sends_descriptors": _SOCKETS,
        "uses_unix_sockets": _SOCKETS,
    },
    "none": {
        "asks_for_kernel_services": _CALLS,
        "asks_the_dns": _CONNECTS,
        "calls_a_server": _CONNECTS,
        "calls_by_another_abi": _CALLS,
        "follows_the_engine": _READS_ALL,
        "leaves_state_for_the_next_fold": "/tmp is that of the machine",
        "makes_namespaces": _CALLS,
        "opens_files_by_handle": _CALLS,
        "opens_kernel_files": "/proc is that of the machine",
        "reads_homes": _READS_ALL,
        "reads_kit_and_data": _READS_ALL,
        "reads_other_processes": "other submissions run as the same user",
        "reads_other_submissions": _READS_ALL,
        "reads_results_of_others": _READS_ALL,
        "reads_test_data_early": "the bundle is readable from the beginning",
        "reads_the_configuration": _READS_ALL,
        "reads_the_database": _READS_ALL,
        "searches_the_disk": _READS_ALL,
        "sends_datagrams": _CONNECTS,
        "sends_descriptors": _SOCKETS,
        "sets_clock_and_name": _CALLS,
        "signals_everybody": "other submissions run as the same user",
        "uses_odd_sockets": _CALLS,
        "uses_unix_sockets": _SOCKETS,
        "walks_out_of_its_root": _READS_ALL,
    },
}
#: What a weaker level may hold after all: it depends on the kernel, on the network, on who runs
#: beside, or on which of two that meet is first.
_BY_MACHINE = frozenset(
    {
        "asks_for_kernel_services",
        "asks_the_dns",
        "calls_by_another_abi",
        "leaves_state_for_the_next_fold",
        "makes_namespaces",
        "opens_kernel_files",
        "reads_other_processes",
        "sends_datagrams",
        "sends_descriptors",
        "uses_odd_sockets",
    }
)


def _weakened(case: Case) -> Case:
    weaker = {level: why[case.name] for level, why in _NOT_HELD.items() if case.name in why}
    return replace(case, weaker=weaker, is_by_machine=case.name in _BY_MACHINE)


_ALL = [*_LIMITS, *_LEAKS, *_LOOKING, *_ENDING, *_FORGING, *_LINGERING]
CASES: list[Case] = [_weakened(case) for case in _ALL]
#: What is run by the fold step alone.
NOT_IN_THE_ARENA = ("five_modest_processes", "reaches_for_the_fold_beside", "shares_memory")
