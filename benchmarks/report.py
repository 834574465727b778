"""The results as a page, and the aims that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.__main__ import Outcome

Aim = dict[str, Any]


def aims_of(name: str, figures: Any) -> list[Aim]:
    """Hold the figures of a benchmark against what they should be; no aims, no entries."""
    if isinstance(figures, dict) and "aims" in figures:  # it knows them itself
        return list(figures["aims"])
    return _AIMS[name](figures) if name in _AIMS else []


def _throughput(figures: Any) -> list[Aim]:
    found = []
    if "iris" in figures:
        iris = {key: cost["seconds"] for key, cost in figures["iris"].items()}
        ratio = iris["cold ramp-test (baseline)"] / iris["servers, 2 worker(s)"]
        found.append(_at_least("iris, 2 workers: x faster than the cold loop", ratio, 10.0))
    if "digits" in figures:
        digits = {key: cost["seconds"] for key, cost in figures["digits"].items()}
        part = digits["training alone (limit)"] / 2 / digits["servers, 2 worker(s)"]
        found.append(_at_least("digits, 2 workers: part of the limit", part, 0.8))
    return found


def _latency(figures: Any) -> list[Aim]:
    return [_at_most("submitted to scored, idle, s (median)", figures["servers"]["median"], 0.5)]


def _folds(figures: Any) -> list[Aim]:
    ratio = figures["times faster"]
    return [_at_least("eight folds on two cores: x faster than one after another", ratio, 1.7)]


def _scale(figures: Any) -> list[Aim]:
    found = []
    for kind, one in figures.items():
        name, ratio = max(one["ratio"].items(), key=lambda item: item[1])
        found.append(_at_most(f"{kind}: largest ratio ({name})", ratio, 2.0))
        most = [*one["milliseconds"].values()][-1]
        page = max(value for key, value in most.items() if "page" in key)
        found.append(_at_most(f"{kind}: slowest page of the leaderboard, ms", page, 20.0))
    return found


def _dispatch(figures: Any) -> list[Aim]:
    found = []
    for kind, modes in figures.items():
        for mode, row in modes.items():
            if "baseline" not in mode:
                all_of_them = row["SQL a submission, queue of 60"]
                own = all_of_them - row["of these fold scores and times"]
                found.append(_at_most(f"{kind}: SQL a submission beyond its scores", own, 15.0))
    return found


_AIMS = {
    "throughput": _throughput,
    "latency": _latency,
    "folds": _folds,
    "scale": _scale,
    "dispatch": _dispatch,
}


def _at_most(name: str, figure: float, limit: float) -> Aim:
    return {"aim": name, "at most": limit, "figure": figure, "is_met": figure <= limit}


def _at_least(name: str, figure: float, limit: float) -> Aim:
    return {"aim": name, "at least": limit, "figure": figure, "is_met": figure >= limit}


def render(machine: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> str:
    """Give the page."""
    lines = ["# Results of the benchmarks", "", "Written by `make benchmark`; do not edit.", ""]
    lines += [f"* {name}: {value}" for name, value in machine.items()]
    lines += ["", "## Aims", "", "| | figure | aim | |", "|---|---|---|---|"]
    lines += [_aim_line(name, aim) for name, one in outcomes.items() for aim in one.aims]
    failed = {name: one.failure for name, one in outcomes.items() if one.failure}
    lines += [f"| {name} | {failure} | | **failed** |" for name, failure in failed.items()]
    for name, outcome in outcomes.items():
        full = ", in full" if outcome.is_full else ""
        when = f"{outcome.seconds:.0f} s{full}, {outcome.date}, commit {outcome.commit}"
        lines += ["", f"## {name}", "", f"`python -m benchmarks.{name}`, {when}"]
        lines += ["", "```", outcome.output or "nothing", "```"]
    return "\n".join(lines) + "\n"


def _aim_line(name: str, aim: Aim) -> str:
    side = "at most" if "at most" in aim else "at least"
    word = "met" if aim["is_met"] else "**missed**"
    return f"| {name}: {aim['aim']} | {aim['figure']:.2f} | {side} {aim[side]:g} | {word} |"
