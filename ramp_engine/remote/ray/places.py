"""Which nodes of a Ray cluster a job fits on, and how many of them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ramp_engine.remote.engine import Demands, Node

__all__ = ["Patience", "as_node", "count_slots", "matches", "ray_demands", "why_unplaced"]

_MB = 1 << 20
#: What a fraction may be off when resources are counted.
_TINY = 1e-6


def ray_demands(demands: Demands) -> dict[str, Any]:
    """Give demands by Ray's names of resources, and ``labels``.

    Returns
    -------
    dict
        ``CPU``, ``GPU``, ``memory`` [bytes] and the operator's own resources, those that are not
        0; ``labels``.
    """
    wanted: dict[str, float] = {"CPU": demands.cpus, "GPU": demands.gpus}
    wanted["memory"] = int((demands.memory_mb or 0) * _MB)
    wanted |= {name: float(amount) for name, amount in demands.resources.items()}
    found: dict[str, Any] = {name: amount for name, amount in wanted.items() if amount}
    return found | {"labels": dict(demands.labels)}


def count_slots(
    resources: Mapping[str, float], labels: Mapping[str, str], demands: Mapping[str, Any]
) -> int:
    """Count the jobs that fit at once into such resources of a node.

    Parameters
    ----------
    resources : mapping of float
        By Ray's names.
    labels : mapping of str
        Those of the node.
    demands : mapping
        As `ray_demands` gives them. Without any resource a job is taken to need a core.
    """
    if not all(matches(labels.get(key), value) for key, value in demands["labels"].items()):
        return 0
    wanted: dict[str, float] = {
        name: amount for name, amount in demands.items() if name != "labels"
    }
    wanted = wanted or {"CPU": 1.0}
    return min(
        math.floor(resources.get(name, 0.0) / amount + _TINY) for name, amount in wanted.items()
    )


def matches(label: str | None, condition: str) -> bool:
    """Tell whether a label meets a condition of Ray: ``a``, ``!a``, ``in(a,b)`` or ``!in(a,b)``.

    Parameters
    ----------
    label : str or None
        None: the node has no such label.
    condition : str
    """
    is_negated, plain = condition.startswith("!"), condition.removeprefix("!")
    listed = re.fullmatch(r"in\((.*)\)", plain)
    values = [part.strip() for part in listed[1].split(",")] if listed else [plain]
    return (label in values) != is_negated


def as_node(view: Mapping[str, Any], demands: Mapping[str, Any]) -> Node:
    """Describe a node as the gateway sees it.

    Parameters
    ----------
    view : mapping
        As the post office describes it.
    demands : mapping
        As `ray_demands` gives them.
    """
    total, labels = view["total"], view["labels"]
    n_slots = count_slots(total, labels, demands)
    n_free = 0 if view["is_leaving"] else count_slots(view["free"], labels, demands)
    facts = {
        "address": view["address"],
        "cpus": total.get("CPU", 0.0),
        "gpus": total.get("GPU", 0.0),
        "memory_mb": round(total.get("memory", 0.0) / _MB),
        "resources": _own_resources(total),
        "labels": dict(labels),
    }
    return Node(
        name=view["name"],
        host=view["host"],
        n_slots=n_slots,
        n_free=max(0, min(n_free, n_slots)),
        facts=facts,
        is_leaving=view["is_leaving"],
    )


def why_unplaced(views: Sequence[Mapping[str, Any]], demands: Mapping[str, Any]) -> str | None:
    """Say which demands no node can meet, and what the nodes offer; None when one can meet them."""
    if any(count_slots(view["total"], view["labels"], demands) for view in views):
        return None
    wanted = [_amount(name, value) for name, value in demands.items() if name != "labels"]
    wanted += [f"the label {key}: {value}" for key, value in demands["labels"].items()]
    offers = [f"{view['host']} has {_offer(view)}" for view in views] or ["there is no node"]
    more = [f"and {len(offers) - 8} more"] if len(offers) > 8 else []
    return (
        f"no node of the cluster can meet the demand of a fold ({', '.join(wanted)}):"
        f" {'; '.join(offers[:8] + more)}"
    )


def _offer(view: Mapping[str, Any]) -> str:
    total = view["total"]
    standard = {name: total.get(name, 0.0) for name in ("CPU", "GPU", "memory")}
    parts = [_amount(name, value) for name, value in (standard | _own_resources(total)).items()]
    shown = {key: value for key, value in view["labels"].items() if key != "ray.io/node-id"}
    return ", ".join([*parts, *(f"the label {key}: {value}" for key, value in shown.items())])


def _own_resources(total: Mapping[str, float]) -> dict[str, float]:
    """Give what the operator has declared, without what Ray adds."""
    known = ("CPU", "GPU", "memory", "object_store_memory")
    return {
        name: amount
        for name, amount in total.items()
        if name not in known and not name.startswith("node:")
    }


def _amount(name: str, value: float) -> str:
    match name:
        case "CPU":
            return f"cpus: {value:g}"
        case "GPU":
            return f"gpus: {value:g}"
        case "memory":
            return f"memory: {value / _MB:.0f} MB"
    return f"{name}: {value:g}"


class Patience:
    """How long each demand has been one that no node can meet.

    Parameters
    ----------
    seconds : float
        For so long a node may be missing: it is being started, or was lost and comes back.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def end_of(
        self, views: Sequence[Mapping[str, Any]], demands: Mapping[str, Any], node: str | None
    ) -> str | None:
        """Look whether a demand can be met now; say why not once that has lasted too long.

        Parameters
        ----------
        views : sequence
            The nodes, as the post office describes them.
        demands : mapping
            As `ray_demands` gives them.
        node : str or None
            The only node that will do.
        """
        key = f"{node} {sorted(demands.items(), key=lambda item: item[0])}"
        suitable = [view for view in views if node in (None, view["name"])]
        reason = why_unplaced(suitable, demands)
        if reason is None:
            self._since.pop(key, None)
            return None
        now = time.monotonic()
        waited = now - self._since.setdefault(key, now)
        return f"{reason}, for {waited:.0f} s" if waited >= self._seconds else None
