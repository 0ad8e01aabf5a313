"""Interleaved timing of several contenders, and the table of what was found.

A row's contenders take turns (A B C A B C ...), so that a busy moment of the machine hits all of
them alike: the ratios mean something even where the milliseconds do not.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.processes import MeasureError


@dataclass(slots=True, kw_only=True)
class Contender:
    """One way of doing what a row measures."""

    name: str
    run: Callable[[], None]
    before: Callable[[], None] = lambda: None
    """Done before each run, outside the measured time."""
    times_ms: list[float] = field(default_factory=list[float])
    failure: str = ""

    @property
    def median_ms(self) -> float:
        """Half of the runs took longer."""
        return statistics.median(self.times_ms)

    @property
    def p90_ms(self) -> float:
        """One run in ten took longer."""
        return sorted(self.times_ms)[min(len(self.times_ms) - 1, int(len(self.times_ms) * 0.9))]

    def once(self, *, keep: bool = True) -> None:
        """Run once; a failure ends this contender's part and is shown in the table."""
        if self.failure:
            return
        try:
            self.before()
            start = time.perf_counter()
            self.run()
            spent = (time.perf_counter() - start) * 1000
        except MeasureError as failure:
            self.failure = str(failure)
        else:
            if keep:
                self.times_ms.append(spent)


@dataclass(slots=True, kw_only=True)
class Row:
    """What is measured, and by whom; the first contender is what the others are compared with."""

    title: str
    contenders: Sequence[Contender]
    absent: Sequence[str] = ()
    """Contenders that are not installed here."""

    def measure(self, runs: int, *, warm_ups: int = 2) -> None:
        """Let everybody run ``runs`` times in turn, after ``warm_ups`` runs that do not count."""
        for number in range(warm_ups + runs):
            for contender in self.contenders:
                contender.once(keep=number >= warm_ups)


def format_rows(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| measured | with | median ms | p90 ms | times kedge |",
        "|---|---|---:|---:|---:|",
    ]
    for row in rows:
        reference = next((each.median_ms for each in row.contenders if not each.failure), None)
        title = row.title
        for each in row.contenders:
            if each.failure or reference is None:
                lines.append(f"| {title} | {each.name} | failed: {each.failure} | | |")
            else:
                ratio = each.median_ms / reference
                lines.append(
                    f"| {title} | {each.name} | {each.median_ms:.1f} | {each.p90_ms:.1f} "
                    f"| {ratio:.2f} |"
                )
            title = ""
        lines.extend(f"| | {name} | not installed | | |" for name in row.absent)
    return "\n".join(lines)
