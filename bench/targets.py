"""Numbers with a target: how they are taken in turn, judged and shown.

A number is time, memory or throughput. What a peer is not measured for says why in the table.
"""

import os
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.processes import MeasureError

Probe = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What kedge's median has to be; the limits that are not 0 all hold."""

    times: float = 0
    """At least so many times better than dockerd."""
    at_least: float = 0
    at_most: float = 0
    at_most_times: float = 0
    """At most so many times what ``than`` takes."""
    than: str = ""
    none: bool = False
    """Nothing at all."""

    def text(self, unit: str) -> str:
        """Return it in words."""
        words: list[str] = []
        if self.times:
            words.append(f"{self.times:g} times better than dockerd")
        if self.at_least:
            words.append(f"at least {self.at_least:g} {unit}")
        if self.at_most:
            words.append(f"at most {self.at_most:g} {unit}")
        if self.none:
            words.append("none")
        if self.at_most_times == 1:
            words.append(f"no more than {self.than}")
        elif self.at_most_times:
            words.append(f"at most {self.at_most_times:g} times {self.than}")
        return ", ".join(words)

    def verdict(self, value: float, ratio: float | None, others: Mapping[str, float]) -> str:
        """Return whether ``value``, ``ratio`` times better than dockerd's, is enough."""
        if self.times and ratio is None:
            return "no dockerd to compare with"
        if self.than and self.than not in others:
            return f"no {self.than} to compare with"
        if self.than and value > self.at_most_times * others[self.than]:
            return "missed"
        if self.none and value:
            return "missed"
        good = not self.at_least or value >= self.at_least
        good = good and (not self.at_most or value <= self.at_most)
        good = good and (not self.times or (ratio is not None and ratio >= self.times))
        return "met" if good else "missed"


@dataclass(slots=True, kw_only=True)
class Number:
    """One number and who is asked for it; ``kedge`` comes first."""

    title: str
    unit: str
    probes: dict[str, Probe]
    target: Target
    more_is_better: bool = False
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """Why somebody has no number."""
    values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    peers: tuple[str, str] = ("dockerd", "podman")
    """The other columns; the first is what kedge is compared with."""

    def measure(self, runs: int) -> None:
        """Ask everybody ``runs`` times in turn; who fails is out."""
        sys.stderr.write(f"measuring: {self.title}\n")
        for _ in range(runs):
            for name, probe in self.probes.items():
                if name in self.skipped:
                    continue
                try:
                    self.values.setdefault(name, []).append(probe())
                except (MeasureError, OSError) as failure:
                    self.skipped[name] = f"failed: {failure}"

    def shown(self) -> list[str]:
        """Return the cells of its line in the table."""
        medians = {
            name: statistics.median(found)
            for name, found in self.values.items()
            if name not in self.skipped
        }
        cells = [self.title]
        for name in ("kedge", *self.peers):
            known = f"{medians[name]:.1f}" if name in medians else ""
            cells.append(known or self.skipped.get(name, "not installed"))
        ratio = self._ratio(medians)
        cells.append("" if ratio is None else f"{ratio:.1f}")
        cells.append(self.target.text(self.unit))
        kedge = medians.get("kedge")
        verdict = "failed"
        if kedge is not None:
            verdict = self.target.verdict(kedge, ratio, medians) if cells[-1] else ""
        cells.append(verdict)
        cells[0] += f" ({self.unit})"
        return cells

    def _ratio(self, medians: dict[str, float]) -> float | None:
        kedge, peer = medians.get("kedge"), medians.get(self.peers[0])
        if kedge is None or peer is None or min(kedge, peer) <= 0:
            return None
        return kedge / peer if self.more_is_better else peer / kedge


def format_numbers(numbers: list[Number], runs: int) -> str:
    """Return them, who have the same peers, as a Markdown table, with the load of the moment."""
    first, second = numbers[0].peers
    lines = [
        f"Medians of {runs} interleaved runs; load {os.getloadavg()[0]:.1f} at the end.",
        "",
        f"| measured | kedge | {first} | {second} | times {first} | target | |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(number.shown())} |" for number in numbers)])
