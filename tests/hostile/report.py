"""Write ``doc/explanation/hostile-set.md``: what each submission tries, and which level holds it.

It is made of `cases`, of which the runs of the set at each level show that it is true, of what is
held and of what is not::

    python -m tests.hostile.report
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.hostile.cases import CASES, LIMITS, Case

TABLE = Path(__file__).parents[2] / "doc" / "explanation" / "hostile-set.md"

_LEVELS = ("namespaces", "landlock", "none")
_INTRODUCTION = """\
# The hostile set: what submissions try, and which level holds it

Each of these submissions, in `tests/hostile/submissions/`, is an attack or an accident. All of
them are submitted to one event, honest ones between them, and evaluated by one dispatcher, at each
level of confinement ([security](security.md)). They know every path, the dispatcher's process and
the ports and sockets of the machine; secrets are planted in the configuration, the environment of
the dispatcher, its user's home, the organiser's data and behind the servers.

*held* means: the submission ends in a state that is foreseen, told what was wrong, in one attempt;
no secret, no test label and nothing that it says to have gained is in any log, error or published
file; logs, times and scores are true. After the set the files of event, environment and database,
the settings of the machine, its mounts and sockets are as before, no process, file or IPC object
of a submission is left, and the honest submissions have the scores that they have alone. What is
left at the weaker levels is files in /dev/shm; without confinement also in /tmp and its like, and
objects of System V.

The tests fail where a level holds less *or more* than this page says, but where it says *as a
rule*: that depends on the machine. Submissions run as a user without rights at every level, also
without confinement, when root runs the dispatcher, as here; those that only confinement holds are
also run by a dispatcher that is not root's. Limits of a fold: {limits}.

| submission | what it tries | namespaces | landlock | none |
|---|---|---|---|---|
"""


def text() -> str:
    """Give the page."""
    limits = ", ".join(f"`{name}: {value}`" for name, value in LIMITS.items())
    rows = [_row(case) for case in sorted(CASES, key=lambda case: case.name)]
    count = "\n{} submissions; not held: {}.\n".format(
        len(CASES), ", ".join(f"{_n_weaker(level)} at {level}" for level in _LEVELS)
    )
    return _INTRODUCTION.format(limits=limits) + "\n".join(rows) + "\n" + count


def _n_weaker(level: str) -> int:
    return sum(level in case.weaker for case in CASES)


def _row(case: Case) -> str:
    cells = [f"`{case.name}`", tries(case), *(_cell(case, level) for level in _LEVELS)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(case: Case, level: str) -> str:
    if level not in case.weaker:
        return "held"
    return f"**no**{', as a rule' if case.is_by_machine else ''}: {case.weaker[level]}"


def tries(case: Case) -> str:
    """Give the first line of what a submission says of itself."""
    docstring = ast.get_docstring(ast.parse(case.path.read_bytes()))
    assert docstring, case.path
    return docstring.splitlines()[0]


if __name__ == "__main__":
    TABLE.write_text(text(), encoding="utf-8")
