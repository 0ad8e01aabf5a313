"""User namespace remapping: which host ids a container's ids are, and who is kept out of it.

Words and rules are dockerd's (``--userns-remap``, ``--userns=host``); ranges come from /etc/subuid
and /etc/subgid as ``useradd`` writes them. Nothing on disk has mapped ids: layers, volumes and the
engine's own files are kept with the container's, and shown through id-mapped mounts. So one data
root serves containers of every mapping, and a range may change between two starts.

Unlike dockerd, kedged creates no system user: ``default`` without entries is a fixed range.
"""

import grp
import os
import pwd
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from kedge.api.types.config import HostConfig
from kedge.engine.idmaps import IdRange
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping

DEFAULT_USER: Final = "dockremap"
# No one hands out ids from here: subordinate ids of users end at 600,100,000, those of
# systemd-nspawn at 1,879,048,191, and systemd's range of foreign images begins at 2,147,352,576.
DEFAULT_FIRST_ID: Final = 2_000_000_000
DEFAULT_COUNT: Final = 65_536
_ID_MAX: Final = 2**32 - 2
_RANGES_MAX: Final = 340  # of the kernel, for one map


class IdMaps(NamedTuple):
    """The mappings of a container's users and groups to the host's."""

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]


NO_MAPS: Final = IdMaps((), ())


class Accounts(Protocol):
    """The host's users and groups, by name or id; None for nobody."""

    def user(self, key: str | int) -> tuple[str, int] | None:
        """Return name and id."""
        ...

    def group(self, key: str | int) -> str | None:
        """Return the name."""
        ...


class SystemAccounts:
    """What the host's name services know."""

    def user(self, key: str | int) -> tuple[str, int] | None:
        """Return name and id."""
        try:
            found = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
        except (KeyError, OverflowError):
            return None
        return found.pw_name, found.pw_uid

    def group(self, key: str | int) -> str | None:
        """Return the name."""
        try:
            found = grp.getgrgid(key) if isinstance(key, int) else grp.getgrnam(key)
        except (KeyError, OverflowError):
            return None
        return found.gr_name


def load_remap(wanted: str) -> IdMaps | None:
    """Return the mapping ``--userns-remap`` asks for; None for no remapping.

    Raises:
        InvalidParameterError: As `parse_remap`.
    """
    if not wanted:
        return None
    return parse_remap(
        wanted, SystemAccounts(), subuid=_read("/etc/subuid"), subgid=_read("/etc/subgid")
    )


def parse_remap(wanted: str, accounts: Accounts, *, subuid: str, subgid: str) -> IdMaps | None:
    """Return the mapping for ``default``, ``user[:group]`` or ``uid[:gid]``.

    Args:
        wanted: What was asked for.
        accounts: Who exists.
        subuid: Content of /etc/subuid.
        subgid: Content of /etc/subgid.

    Returns:
        None for root, who cannot be mapped to himself.

    Raises:
        InvalidParameterError: No such user or group, no range, or one that is of no use.
    """
    parts = wanted.split(":")
    if len(parts) > 2 or not all(parts):
        raise InvalidParameterError(
            f'invalid user/group specification in --userns-remap: "{wanted}": '
            "give default, user[:group] or uid[:gid]"
        )
    if parts[0] == "default" and accounts.user(DEFAULT_USER) is None:
        name, uid = DEFAULT_USER, -1
    else:
        name, uid = _find_user(DEFAULT_USER if parts[0] == "default" else parts[0], accounts)
        _check_group(parts, name, accounts)
    if name == "root":
        return None
    owners = {name, str(uid)}
    found = [
        _own_ranges(text, owners, f'no {kind} ranges found for user "{name}"', parts[0])
        for kind, text in (("subuid", subuid), ("subgid", subgid))
    ]
    return IdMaps(_concatenate(found[0]), _concatenate(found[1]))


def _find_user(text: str, accounts: Accounts) -> tuple[str, int]:
    if text.isdigit():
        found = accounts.user(int(text))
        if found is None:
            raise InvalidParameterError(f"uid {text} has no entry in /etc/passwd")
        return found
    found = accounts.user(text)
    if found is None:
        raise InvalidParameterError(f'error during uid lookup for "{text}": no such user')
    return found


def _check_group(parts: Sequence[str], user: str, accounts: Accounts) -> None:
    """Have the group exist, as dockerd does; the ranges are the user's all the same."""
    text = parts[1] if len(parts) == 2 else user if not parts[0].isdigit() else parts[0]
    if accounts.group(int(text) if text.isdigit() else text) is not None:
        return
    if text.isdigit():
        raise InvalidParameterError(f"gid {text} has no entry in /etc/group")
    raise InvalidParameterError(f'error during gid lookup for "{text}": no such group')


def _own_ranges(
    text: str, owners: set[str], nothing: str, asked: str
) -> tuple[tuple[int, int], ...]:
    entries = list(_parse_ranges(text))
    own = tuple((first, count) for owner, first, count in entries if owner in owners)
    if not own and asked == "default":
        last = DEFAULT_FIRST_ID + DEFAULT_COUNT
        for owner, first, count in entries:
            if first < last and first + count > DEFAULT_FIRST_ID:
                raise InvalidParameterError(
                    f"--userns-remap=default: the ids from {DEFAULT_FIRST_ID} on belong to "
                    f"{owner}: give {DEFAULT_USER} a range in /etc/subuid and /etc/subgid"
                )
        return ((DEFAULT_FIRST_ID, DEFAULT_COUNT),)
    if not own:
        raise InvalidParameterError(
            f"can't create ID mappings: {nothing}: add one, as with "
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
        )
    for first, count in own:
        if not first or first + count - 1 > _ID_MAX:
            raise InvalidParameterError(
                f"can't create ID mappings: the range {first}:{count} must neither reach the "
                "host's root nor end after the last id"
            )
    return own


def _parse_ranges(text: str) -> Iterable[tuple[str, int, int]]:
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal() and int(parts[2]):
            yield parts[0], int(parts[1]), int(parts[2])


def _concatenate(ranges: Sequence[tuple[int, int]]) -> tuple[IdMapping, ...]:
    """Lay the ranges side by side, from the container's id 0 on."""
    found: list[IdMapping] = []
    position = 0
    for first, count in ranges[:_RANGES_MAX]:
        found.append(IdMapping(position, first, count))
        position += count
    return tuple(found)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def check_user_namespace(host: HostConfig, maps: IdMaps | None) -> None:
    """Raise unless a container of ``host`` can be in the user namespace it would get.

    Raises:
        InvalidParameterError: It shares with the host what belongs to the host's, in Docker's
            words.
    """
    if host.userns_mode not in {"", "host"}:
        raise InvalidParameterError(
            f"invalid user namespace mode: {host.userns_mode}: use host, or leave it out"
        )
    if maps is None or host.userns_mode == "host":
        return
    if host.privileged:
        raise InvalidParameterError(
            "privileged mode is incompatible with user namespaces.  You must run the container "
            "in the host namespace when running privileged mode (--userns=host)"
        )
    for mode, what in (
        (host.network_mode, "the host's network namespace"),
        (host.pid_mode, "the host PID namespace"),
        (host.ipc_mode, "the host's IPC namespace"),
    ):
        if mode == "host":
            raise InvalidParameterError(
                f"cannot share {what} when user namespaces are enabled (leave them with "
                "--userns=host)"
            )


def mapping_for(host: HostConfig, maps: IdMaps | None) -> IdMaps | None:
    """Return the mapping a container of ``host`` runs with; None for the host's own ids."""
    return None if host.userns_mode == "host" else maps


def mapped_rootfs(mounts: tuple[Mount, ...], maps: IdMaps | None) -> tuple[Mount, ...]:
    """Return the mounts of a snapshot so that the runtime shows them with mapped ids."""
    if maps is None:
        return mounts
    return tuple(each._replace(options=(*each.options, "idmap")) for each in mounts)


def shared_user_namespace(paths: Iterable[str | None]) -> str:
    """Return the user namespace of the containers whose namespaces are joined; empty for none.

    What belongs to a user namespace can only be used by who is in it, so that one is joined, too.

    Args:
        paths: ``/proc/PID/ns/KIND`` of each namespace to join; other values are passed over.

    Raises:
        InvalidParameterError: They are not all in one user namespace of their own.
    """
    found: dict[int, str] = {}
    for path in paths:
        if path:
            own = os.path.join(os.path.dirname(path), "user")
            found[os.stat(own).st_ino] = own
    if os.stat("/proc/self/ns/user").st_ino in found or len(found) > 1:
        raise InvalidParameterError(
            "cannot share namespaces with containers of another user namespace: run all of them, "
            "or none, with --userns=host"
        )
    return next(iter(found.values()), "")


def mappings_json(mappings: Sequence[IdMapping]) -> list[Json]:
    """Return the runtime specification's form."""
    return [
        {"containerID": each.container_id, "hostID": each.host_id, "size": each.size}
        for each in mappings
    ]


def to_host(ranges: Sequence[IdRange], mappings: Sequence[IdMapping]) -> list[IdMapping]:
    """Return ``ranges``, which end at the container's ids, so that they end at the host's.

    Ids that the container does not have are left out; without ``mappings``, all are the host's.
    """
    found: list[IdMapping] = []
    for disk, container, length in ranges:
        if not mappings:
            found.append(IdMapping(disk, container, length))
        for each in mappings:
            first = max(container, each.container_id)
            count = min(container + length, each.container_id + each.size) - first
            if count > 0:
                host = each.host_id + first - each.container_id
                found.append(IdMapping(disk + first - container, host, count))
    return found
