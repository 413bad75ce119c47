"""Timing several ways in turn, so that what else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Way = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """What one way took and what another took beside it."""

    what: str
    images: int
    """In one run; 0 where a rate says nothing."""
    ours: list[float]
    """Seconds, one for each run."""
    against: str
    theirs: list[float]
    """Seconds, of the runs right beside those."""

    def ratios(self) -> list[float]:
        """Return how many times as long the other way took, for each pair of runs."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def row(self) -> str:
        """Return a row of the table whose columns are in `COLUMNS`."""
        ratios = self.ratios()

        def pace(seconds: list[float]) -> str:
            median = statistics.median(seconds)
            return f"{self.images / median:,.0f} images/s" if self.images else f"{median:.3g} s"

        return (
            f"| {self.what} | {pace(self.ours)} | {self.against} | {pace(self.theirs)} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} – {max(ratios):.2f} |"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """What one section found."""

    comparisons: list[Comparison]
    words: str = ""


COLUMNS = "| what | Thaw | against | it takes | ratio | from – to |\n| --- | ---: | --- | ---: | ---: | :---: |"


def once(way: Way) -> float:
    """Return the seconds of one run."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def in_turn(ways: Mapping[str, Way], runs: int, warm_ups: int = 1) -> dict[str, list[float]]:
    """Time each way several times, A B C A B C …, after runs of each that are not counted.

    Returns:
        Seconds by way, one for each run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(warm_ups + runs):
        for name, way in ways.items():
            taken = once(way)
            if run >= warm_ups:
                seconds[name].append(taken)
    return seconds


def most_memory() -> float:
    """Return the most megabytes that this process has had; the system's `ru_maxrss` has those of its parent, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
