"""``USER`` and ``--user``: from names in the image's passwd and group files to ids. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject


class ResolvedUser(NamedTuple):
    """The ids a process runs with."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"

    def as_json(self) -> JsonObject:
        """Return the runtime specification's ``user``."""
        return {
            "uid": self.uid,
            "gid": self.gid,
            "additionalGids": list[Json](self.additional_gids),
        }


class _Passwd(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(
    user: str, *, passwd: str, group: str, group_add: Sequence[str] = ()
) -> ResolvedUser:
    """Return the ids that ``user`` stands for.

    Args:
        user: ``name``, ``uid``, ``name:group``, ``uid:gid`` or empty for root.
        passwd: Content of the image's ``/etc/passwd``, empty when there is none.
        group: Content of its ``/etc/group``.
        group_add: Names or ids of further groups.

    Raises:
        NotFoundError: A name that neither file has, with Docker's text.
        InvalidParameterError: An id outside of the kernel's range.
    """
    users = _parse_passwd(passwd)
    groups = _parse_group(group)
    user_part, separator, group_part = user.partition(":")
    entry = _find_user(user_part or "0", users)
    gid = entry.gid
    members: list[int] = []
    if separator and group_part:
        gid = _find_group(group_part, groups)
    else:
        members = [item.gid for item in groups if entry.name and entry.name in item.members]
    # Without its own group in the list, a process could shed it by changing its primary one, and
    # pass where that group alone is kept out (CVE-2022-36109).
    extra = [gid, *members, *(_find_group(name, groups) for name in group_add)]
    return ResolvedUser(
        uid=entry.uid, gid=gid, additional_gids=tuple(dict.fromkeys(extra)), home=entry.home
    )


def _find_user(text: str, users: Sequence[_Passwd]) -> _Passwd:
    if not _is_number(text):
        for entry in users:
            if entry.name == text:
                return entry
        raise NotFoundError(f"unable to find user {text}: no matching entries in passwd file")
    # A number is an id and nothing else: an image may call root "1000" (CVE-2016-3697).
    uid = _check_id(text)
    for entry in users:
        if entry.uid == uid:
            return entry
    return _Passwd("", uid, 0, "/")


def _find_group(text: str, groups: Sequence[_Group]) -> int:
    if _is_number(text):
        return _check_id(text)
    for entry in groups:
        if entry.name == text:
            return entry.gid
    raise NotFoundError(f"unable to find group {text}: no matching entries in group file")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _check_id(text: str) -> int:
    value = int(text)
    if value > 2**31 - 1:
        raise InvalidParameterError("uids and gids must be in range 0-2147483647")
    return value


def _parse_passwd(text: str) -> list[_Passwd]:
    entries: list[_Passwd] = []
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= 4 and _is_number(parts[2]) and _is_number(parts[3]):
            home = parts[5] if len(parts) > 5 else ""
            entries.append(_Passwd(parts[0], int(parts[2]), int(parts[3]), home or "/"))
    return entries


def _parse_group(text: str) -> list[_Group]:
    entries: list[_Group] = []
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= 3 and _is_number(parts[2]):
            members = tuple(
                name for name in (parts[3] if len(parts) > 3 else "").split(",") if name
            )
            entries.append(_Group(parts[0], int(parts[2]), members))
    return entries
