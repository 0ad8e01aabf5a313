"""Resource limits and the OOM score of a container's process.

Raising a hard limit needs CAP_SYS_RESOURCE of the host, so it happens first; the exact values are
set last, because a low limit would break the runtime's own steps in between.
"""

from __future__ import annotations

import resource

from kedge.errdefs import ForbiddenError, InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec.types import Rlimit


# include/uapi/asm-generic/resource.h; `resource` leaves some of these names out.
_RLIMITS: Final = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_UNLIMITED: Final = (1 << 64) - 1


class Limit(NamedTuple):
    """A resource limit with its kernel number; -1 is unlimited."""

    name: str
    number: int
    soft: int
    hard: int


def plan_limits(rlimits: tuple[Rlimit, ...]) -> tuple[Limit, ...]:
    """Return the limits with their kernel numbers.

    Raises:
        InvalidParameterError: An unknown name, one given twice, or soft above hard.
    """
    found: dict[str, Limit] = {}
    for rlimit in rlimits:
        number = _RLIMITS.get(rlimit.type)
        if number is None:
            raise InvalidParameterError(f"unknown resource limit {rlimit.type}")
        if rlimit.type in found:
            raise InvalidParameterError(f"resource limit {rlimit.type} is given twice")
        if rlimit.soft > rlimit.hard:
            raise InvalidParameterError(
                f"{rlimit.type}: the soft limit {rlimit.soft} is above the hard limit {rlimit.hard}"
            )
        soft, hard = (-1 if value == _UNLIMITED else value for value in (rlimit.soft, rlimit.hard))
        found[rlimit.type] = Limit(rlimit.type, number, soft, hard)
    return tuple(found.values())


def raise_hard_limits(limits: tuple[Limit, ...]) -> None:
    """Raise the hard limits that must grow, while this process still has the host's privileges.

    The exact values follow in `become`: a low limit set here would break the steps between.
    """
    for limit in limits:
        soft, hard = resource.getrlimit(limit.number)
        if hard == -1 or (limit.hard != -1 and limit.hard <= hard):
            continue
        try:
            resource.setrlimit(limit.number, (soft, limit.hard))
        except (OSError, ValueError) as error:
            wanted = "unlimited" if limit.hard == -1 else str(limit.hard)
            raise ForbiddenError(
                f"cannot raise the hard limit {limit.name} from {hard} to {wanted}: this host "
                f"does not allow it (CAP_SYS_RESOURCE is missing or the kernel's maximum is lower)"
            ) from error


def set_oom_score(value: int | None) -> None:
    """Set this process's oom_score_adj; children inherit it."""
    if value is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="utf-8") as file:
            if int(file.read()) == value:
                return
            file.seek(0)
            file.write(str(value))
    except PermissionError as error:
        raise ForbiddenError(
            f"cannot lower oom_score_adj to {value}: CAP_SYS_RESOURCE is missing on this host"
        ) from error


def set_limits(limits: tuple[Limit, ...]) -> None:
    """Set the exact limits."""
    for limit in limits:
        try:
            resource.setrlimit(limit.number, (limit.soft, limit.hard))
        except (OSError, ValueError) as error:
            raise ForbiddenError(
                f"cannot set {limit.name} to {limit.soft}:{limit.hard}: {error}"
            ) from error
