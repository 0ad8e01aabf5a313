"""Device rules: what a container may open or create, for both cgroup versions.

The specification's rules are ordered and the last one that names an access decides it. cgroup v2
runs a program that says exactly that (`device_program`). cgroup v1 keeps a default and a list of
exceptions, so the rules are first reduced to such a list (`reduce_rules`) and the difference to
the present list is written (`plan_changes`): writing everything anew would for a moment deny a
running container its ``/dev/null``, and the kernel refuses it once there are child cgroups.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.oci.runtime_spec_resources import DeviceRule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, TypeAlias


DEFAULT_RULES: Final = (
    # mknod of anything is harmless: opening what was made is what the other rules decide.
    DeviceRule(allow=True, type="c", access="m"),
    DeviceRule(allow=True, type="b", access="m"),
    DeviceRule(allow=True, type="c", major=1, minor=3),  # null
    DeviceRule(allow=True, type="c", major=1, minor=5),  # zero
    DeviceRule(allow=True, type="c", major=1, minor=7),  # full
    DeviceRule(allow=True, type="c", major=1, minor=8),  # random
    DeviceRule(allow=True, type="c", major=1, minor=9),  # urandom
    DeviceRule(allow=True, type="c", major=5, minor=0),  # tty
    DeviceRule(allow=True, type="c", major=5, minor=2),  # ptmx
    DeviceRule(allow=True, type="c", major=136),  # pts
)
"""The devices every container has, as runc and crun allow them after the rules asked for."""


DeviceKey: TypeAlias = tuple[str, int, int]


class DeviceSet(NamedTuple):
    """A default and its exceptions, cgroup v1's whole vocabulary."""

    default_allow: bool
    exceptions: dict[DeviceKey, frozenset[str]]


def complete_rules(rules: Sequence[DeviceRule] | None) -> tuple[DeviceRule, ...]:
    """Return ``rules`` between "deny everything" and the devices every container has."""
    return (DeviceRule(allow=False), *(rules or ()), *DEFAULT_RULES)


def allows_everything(rules: Sequence[DeviceRule]) -> bool:
    """Tell whether ``rules`` restrict nothing, as those of a privileged container."""
    for rule in reversed(rules):
        if not rule.allow:
            return False
        if rule.type == "a":
            return True
    return False


def reduce_rules(rules: Sequence[DeviceRule]) -> DeviceSet:
    """Return the default and the exceptions that mean the same as ``rules`` in their order.

    Raises:
        InvalidParameterError: Only an ordered list could say it: a rule takes one number out of
            a wildcard.
    """
    default_allow = False
    exceptions: dict[DeviceKey, frozenset[str]] = {}
    for rule in rules:
        if rule.type == "a":
            default_allow = rule.allow
            exceptions.clear()
            continue
        key = (rule.type, rule.major, rule.minor)
        access = frozenset(rule.access)
        if rule.allow == default_allow:
            _take_out(exceptions, key, access)
        else:
            exceptions[key] = exceptions.get(key, frozenset()) | access
    return DeviceSet(default_allow, exceptions)


def _take_out(
    exceptions: dict[DeviceKey, frozenset[str]], key: DeviceKey, access: frozenset[str]
) -> None:
    for other, granted in list(exceptions.items()):
        if not _overlaps(key, other) or not granted & access:
            continue
        if not _covers(key, other):
            raise InvalidParameterError(
                f"cgroup v1 cannot except device {format_key(key)} from {format_key(other)}"
            )
        rest = granted - access
        if rest:
            exceptions[other] = rest
        else:
            del exceptions[other]


def _covers(wide: DeviceKey, narrow: DeviceKey) -> bool:
    return wide[0] == narrow[0] and all(
        ours in {-1, theirs} for ours, theirs in zip(wide[1:], narrow[1:], strict=True)
    )


def _overlaps(one: DeviceKey, other: DeviceKey) -> bool:
    return one[0] == other[0] and all(
        ours == theirs or -1 in {ours, theirs}
        for ours, theirs in zip(one[1:], other[1:], strict=True)
    )


def format_key(key: DeviceKey) -> str:
    """Return ``c 1:3`` or ``c 136:*`` as ``devices.allow`` reads it."""
    kind, major, minor = key
    return f"{kind} {'*' if major < 0 else major}:{'*' if minor < 0 else minor}"


def format_access(access: frozenset[str]) -> str:
    """Return the letters in the kernel's order."""
    return "".join(letter for letter in "rwm" if letter in access)


def parse_devices_list(text: str) -> DeviceSet:
    """Return what ``devices.list`` shows.

    A list that begins with ``a`` is "everything allowed": the kernel does not show the exceptions.
    """
    exceptions: dict[DeviceKey, frozenset[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 3:
            continue
        if words[0] == "a":
            return DeviceSet(default_allow=True, exceptions={})
        major, _, minor = words[1].partition(":")
        key = (words[0], _parse_number(major), _parse_number(minor))
        exceptions[key] = frozenset(words[2])
    return DeviceSet(default_allow=False, exceptions=exceptions)


def _parse_number(text: str) -> int:
    return -1 if text == "*" else int(text)


def plan_changes(current: DeviceSet, target: DeviceSet) -> list[tuple[str, str]]:
    """Return (file, line) writes that lead from ``current`` to ``target``.

    Nothing that both allow is denied in between, unless the default itself changes.
    """
    if target.default_allow:
        writes = [("devices.allow", "a")]
        writes.extend(_lines("devices.deny", target.exceptions))
        return writes
    if current.default_allow:
        return [("devices.deny", "a"), *_lines("devices.allow", target.exceptions)]
    gained: dict[DeviceKey, frozenset[str]] = {}
    lost: dict[DeviceKey, frozenset[str]] = {}
    for key in current.exceptions.keys() | target.exceptions.keys():
        had = current.exceptions.get(key, frozenset())
        wanted = target.exceptions.get(key, frozenset())
        if wanted - had:
            gained[key] = wanted - had
        if had - wanted:
            lost[key] = had - wanted
    return [*_lines("devices.allow", gained), *_lines("devices.deny", lost)]


def _lines(file: str, entries: dict[DeviceKey, frozenset[str]]) -> list[tuple[str, str]]:
    return [(file, f"{format_key(key)} {format_access(access)}") for key, access in entries.items()]
