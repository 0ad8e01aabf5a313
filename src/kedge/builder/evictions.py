"""Which parts of the build cache go: pure, from what is kept and what is wanted.

The words are BuildKit's. ``reserved`` is what is never gone below, ``max_used`` what is never
gone above, ``min_free`` what the disk must have left; without any of them everything that fits
the filters goes. What was used longest ago goes first.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.lib.clock import Clock
from kedge.lib.durations import parse_duration
from kedge.lib.filters import Filters
from kedge.lib.units import parse_size

_FILTERS: Final = (
    "id", "type", "description", "inuse", "shared", "private", "until", "unused-for", "label",
    "label!",
)  # fmt: skip


class Item(NamedTuple):
    """A step or a cache mount that is kept."""

    id: str
    kind: str
    """``regular``, ``exec.cachemount`` or ``source.local``."""
    description: str
    size_bytes: int
    """What removing it gives back; 0 for what an image holds, too."""
    created_ns: int
    last_used_ns: int
    is_shared: bool
    """An image has the same layer."""
    is_used: bool
    """A step works in it right now."""


class Amount(NamedTuple):
    """Bytes, or a share of the disk."""

    size_bytes: int = 0
    percent: int = 0
    at_most: int = 0
    """A share of a large disk is no more than this; 0 for no limit."""

    def of(self, total_bytes: int) -> int:
        """Return the bytes on a disk of this size."""
        share = total_bytes * self.percent // 100
        return max(self.size_bytes, min(share, self.at_most) if self.at_most else share)


class Policy(NamedTuple):
    """What a prune or a garbage collection may remove, and how much stays."""

    reserved: Amount = Amount()
    max_used: Amount = Amount()
    min_free: Amount = Amount()
    takes_shared: bool = False
    fits: Callable[[Item], bool] = lambda _item: True


class Disk(NamedTuple):
    """The disk the cache is on."""

    total_bytes: int
    free_bytes: int


def select_evicted(items: Iterable[Item], policy: Policy, disk: Disk) -> list[Item]:
    """Return what ``policy`` removes, in the order of removal."""
    kept = list(items)
    total = sum(item.size_bytes for item in kept)
    goal = _goal(total, policy, disk)
    candidates = [
        item
        for item in kept
        if not item.is_used and (policy.takes_shared or not item.is_shared) and policy.fits(item)
    ]
    # Of what was used at the same time, the upper layers first: the lower ones hold no space alone.
    candidates.sort(key=lambda item: (item.last_used_ns, -item.created_ns))
    if goal is None:
        return candidates
    evicted: list[Item] = []
    for item in candidates:
        if total <= goal:
            break
        evicted.append(item)
        total -= item.size_bytes
    return evicted


def _goal(total: int, policy: Policy, disk: Disk) -> int | None:
    """Return how many bytes may stay; None for no limit that would keep anything."""
    reserved, most, free = (
        amount.of(disk.total_bytes)
        for amount in (policy.reserved, policy.max_used, policy.min_free)
    )
    if not (reserved or most or free):
        return None
    goal = most or (total if free else 0)
    lacking = free - disk.free_bytes
    if lacking > 0:
        goal = min(goal, total - lacking)
    return max(goal, reserved)


def parse_amount(text: str) -> Amount:
    """Return the amount in ``20GB`` or ``10%``.

    Raises:
        InvalidParameterError: It is neither.
    """
    if not text.endswith("%"):
        return Amount(size_bytes=parse_size(text))
    digits = text[:-1].strip()
    if not (digits.isascii() and digits.isdecimal() and int(digits) <= 100):
        raise InvalidParameterError(f"invalid size: '{text}': use 20GB or 0% to 100%")
    return Amount(percent=int(digits))


def parse_fits(filters: Filters, clock: Clock) -> Callable[[Item], bool]:
    """Return the test that filters of a prune ask for.

    Raises:
        InvalidParameterError: An unknown filter, or a value that makes no sense.
    """
    filters.check_keys(_FILTERS)
    ages = [*filters.get("until"), *filters.get("unused-for")]
    now_ns = clock.time_ns()
    limits = [now_ns - parse_duration(text) for text in ages]
    flags = {
        name: filters.boolean(name, default=False)
        for name in ("inuse", "shared", "private")
        if name in filters
    }

    def fits(item: Item) -> bool:
        facts = {
            "inuse": item.is_used,
            "shared": item.is_shared,
            "private": not item.is_shared,
        }
        return (
            # compat: cache has no labels, so none fits. `docker system prune --filter label=x`
            # sends the filter along, and Docker's engine removes the cache as if it were not there.
            "label" not in filters
            and all(item.last_used_ns <= limit for limit in limits)
            and all(facts[name] == wanted for name, wanted in flags.items())
            and _matches(filters.get("id"), item.id, prefix=True)
            and _matches(filters.get("type"), item.kind)
            and _contains(filters.get("description"), item.description)
        )

    return fits


def _matches(wanted: Sequence[str], value: str, *, prefix: bool = False) -> bool:
    short = value.removeprefix("sha256:")
    return not wanted or any(
        each in (value, short) or (prefix and bool(each) and short.startswith(each))
        for each in wanted
    )


def _contains(wanted: Sequence[str], value: str) -> bool:
    return not wanted or any(each in value for each in wanted)
