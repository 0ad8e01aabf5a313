"""The ids of a container's files as the container knows them, seen and set from outside.

In a running container with a user namespace of its own, files have the host's ids of its users. A
tar stream of ``docker cp`` has the container's, in both directions.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from kedge.archive.entry import Entry
from kedge.engine.userns import IdMaps
from kedge.errdefs import InvalidParameterError
from kedge.linux.identity import acting_as
from kedge.oci.runtime_spec.types import IdMapping

NOBODY: Final = 65534
"""What the kernel shows a container for an id it does not have."""


class RootIds:
    """Translates between a container's ids and those its files are seen with."""

    def __init__(self, maps: IdMaps | None, *, is_translated: bool = True) -> None:
        """Translate by ``maps``; without them the ids are the same.

        Args:
            maps: Which ids the container has.
            is_translated: Files are seen with the host's ids; else with the container's.
        """
        self._limits = maps
        self._maps = maps if is_translated else None

    def to_container(self, entry: Entry) -> Entry:
        """Return what was read outside as the container sees it."""
        if self._maps is None:
            return entry
        uid = container_id(entry.uid, self._maps.uids)
        return entry._replace(uid=uid, gid=container_id(entry.gid, self._maps.gids))

    def to_host(self, entry: Entry) -> Entry:
        """Return what the container shall have as it is written from outside.

        Raises:
            InvalidParameterError: The container has no such user or group.
        """
        if self._limits is None:
            return entry
        uid, gid = host_id(entry.uid, self._limits.uids), host_id(entry.gid, self._limits.gids)
        return entry if self._maps is None else entry._replace(uid=uid, gid=gid)

    def acting(self) -> AbstractContextManager[None]:
        """Be the container's root as far as new files are concerned, in the calling thread."""
        if self._maps is None:
            return nullcontext()
        return acting_as(host_id(0, self._maps.uids), host_id(0, self._maps.gids))


def container_id(number: int, mappings: Sequence[IdMapping]) -> int:
    """Return the container's id for one of the host's; `NOBODY` if it has none."""
    for each in mappings:
        if each.host_id <= number < each.host_id + each.size:
            return each.container_id + number - each.host_id
    return NOBODY


def host_id(number: int, mappings: Sequence[IdMapping]) -> int:
    """Return the host's id for one of the container's.

    Raises:
        InvalidParameterError: The container has no such id, in Docker's words.
    """
    for each in mappings:
        if each.container_id <= number < each.container_id + each.size:
            return each.host_id + number - each.container_id
    raise InvalidParameterError(
        f"container ID {number} cannot be mapped to a host ID: the container's user namespace "
        f"ends at {max((each.container_id + each.size - 1 for each in mappings), default=0)}"
    )


def shown_to_container(mappings: Sequence[IdMapping]) -> tuple[IdMapping, ...]:
    """Return the mapping that shows a folder of the host with the container's ids."""
    return tuple(IdMapping(each.host_id, each.container_id, each.size) for each in mappings)
