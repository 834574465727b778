"""How busy this machine is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MachineLoad"]

_STAT = Path("/proc/stat")


class MachineLoad:
    """The share of this machine's CPU that is busy, from one look to the next."""

    def __init__(self) -> None:
        self._last = _read()

    def share(self) -> float:
        """Give the share since the last call, 0 to 1."""
        (busy_before, total_before), self._last = self._last, _read()
        busy, total = self._last
        return (busy - busy_before) / (total - total_before) if total > total_before else 0.0


def _read() -> tuple[int, int]:
    """Give busy and total ticks of all cores since the machine started."""
    # user nice system idle iowait irq softirq steal; what guests used is in user already
    ticks = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)
