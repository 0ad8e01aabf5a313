"""The ``idmap`` option of a bind mount: ``uids=1000-0-1;gids=1000-0-1``. Pure.

Grammar of Podman's and crun's option of that name: triplets joined by ``#``, each the first id on
disk, the id it has in the container, and how many follow. An id that no triplet names belongs to
nobody in the container.
"""

import itertools
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError

_ID_MAX: Final = 2**32 - 2
_TRIPLETS_MAX: Final = 340  # of the kernel, for one map
_FORM: Final = "give idmap=uids=DISK-CONTAINER-COUNT[#...];gids=DISK-CONTAINER-COUNT[#...]"


class IdRange(NamedTuple):
    """A run of ids, as a line of ``uid_map`` has it."""

    disk: int
    container: int
    length: int


class IdMap(NamedTuple):
    """Which ids on disk are which in the container."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


def parse_id_map(text: str) -> IdMap:
    """Return the two maps; one that is not given is like the other.

    Raises:
        InvalidParameterError: It is malformed, or ranges overlap.
    """
    found: dict[str, tuple[IdRange, ...]] = {}
    if not text:
        raise InvalidParameterError(
            f"idmap without a mapping needs a user namespace of the container: {_FORM}"
        )
    for part in text.split(";"):
        key, _, triplets = part.partition("=")
        if key not in {"uids", "gids"} or key in found or not triplets:
            raise InvalidParameterError(f"invalid idmap option '{text}': {_FORM}")
        found[key] = _parse_ranges(triplets, text)
    uids = found.get("uids") or found["gids"]
    return IdMap(uids, found.get("gids") or uids)


def _parse_ranges(triplets: str, text: str) -> tuple[IdRange, ...]:
    ranges: list[IdRange] = []
    for triplet in triplets.split("#"):
        numbers = triplet.split("-")
        if len(numbers) != 3 or not all(each.isascii() and each.isdigit() for each in numbers):
            raise InvalidParameterError(f"invalid idmap option '{text}': {_FORM}")
        disk, container, length = (int(each[:20]) for each in numbers)
        if not length or max(disk, container) + length - 1 > _ID_MAX:
            raise InvalidParameterError(f"invalid idmap option '{text}': {triplet} is no range")
        ranges.append(IdRange(disk, container, length))
    if len(ranges) > _TRIPLETS_MAX:
        raise InvalidParameterError(f"an idmap takes {_TRIPLETS_MAX} ranges, not {len(ranges)}")
    for side in (0, 1):
        spans = sorted((each[side], each.length) for each in ranges)
        for (first, length), (second, _) in itertools.pairwise(spans):
            if first + length > second:
                raise InvalidParameterError(f"invalid idmap option '{text}': ranges overlap")
    return tuple(ranges)
