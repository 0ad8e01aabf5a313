"""From the numbers of the OCI specification, which are cgroup v1's, to those of cgroup v2."""

from __future__ import annotations

import math

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_SHARES_MIN: Final = 2
_SHARES_MAX: Final = 262144
_WEIGHT_MAX: Final = 10000
_BLKIO_MIN: Final = 10
_BLKIO_MAX: Final = 1000


def weight_from_shares(shares: int) -> int:
    """Return ``cpu.weight`` for ``cpu.shares``; 0, unset, stays 0.

    The curve runs through (2, 1), (1024, 100) and (262144, 10000), so that both versions' defaults
    meet. Runtimes before runc 1.3.2 and crun 1.23 used a straight line that gave 1024 only 39.
    """
    if shares == 0:
        return 0
    if shares <= _SHARES_MIN:
        return 1
    if shares >= _SHARES_MAX:
        return _WEIGHT_MAX
    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612.0 - 7.0 / 34.0))


def swap_from_memory_and_swap(*, swap: int, limit: int | None) -> int:
    """Return ``memory.swap.max`` in bytes, -1 for unlimited.

    Args:
        swap: Memory plus swap as v1 counts it; -1 for unlimited.
        limit: The memory limit, -1 for unlimited, None or 0 when not set.

    Raises:
        InvalidParameterError: The two do not fit together.
    """
    if swap == -1:
        return -1
    if swap < 0:
        raise InvalidParameterError(f"swap limit must be -1 or positive, not {swap}")
    if limit is None or limit <= 0:
        raise InvalidParameterError("a swap limit needs a memory limit on cgroup v2")
    if swap < limit:
        raise InvalidParameterError(
            f"memory+swap limit {swap} must not be smaller than the memory limit {limit}"
        )
    return swap - limit


def io_weight_from_blkio(weight: int) -> int:
    """Return ``io.weight`` (1 to 10000) for a blkio weight (10 to 1000); 0, unset, stays 0."""
    if weight == 0:
        return 0
    if not _BLKIO_MIN <= weight <= _BLKIO_MAX:
        raise InvalidParameterError(f"blkio weight must be between 10 and 1000, not {weight}")
    return 1 + (weight - 10) * 9999 // 990


def limit_text(value: int) -> str:
    """Return ``value`` as a v2 limit file wants it, -1 as ``max``."""
    return "max" if value < 0 else str(value)
