"""``--chown`` and ``USER`` names: looked up in the image's own /etc/passwd and /etc/group."""

from typing import Final

from kedge.builder.files.tree import Tree, read_text
from kedge.errdefs import InvalidParameterError
from kedge.oci.hashing import sha256_digest

_LARGEST: Final = (1 << 32) - 2


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        return None
    return int(text) if int(text) <= _LARGEST else None


def _rows(tree: Tree, path: str) -> list[list[str]]:
    return [line.split(":") for line in (read_text(tree, path) or "").split("\n")]


def find_owner(owner: str, tree: Tree) -> tuple[int, int]:
    """Return the uid and gid that ``user[:group]`` means in ``tree``.

    A number without a group is its own group; a name without a group has the group of its
    /etc/passwd line.

    Raises:
        InvalidParameterError: A name is not in the image.
    """
    user, separator, group = owner.partition(":")
    uid, gid = _find_user(user, tree) if user else (0, 0)
    if separator and group:
        gid = _find_group(group, tree)
    return uid, gid


def _find_user(user: str, tree: Tree) -> tuple[int, int]:
    number = _number(user)
    if number is not None:
        return number, number
    for row in _rows(tree, "etc/passwd"):
        if row[0] == user and len(row) > 3:
            uid, gid = _number(row[2]), _number(row[3])
            if uid is not None and gid is not None:
                return uid, gid
    raise InvalidParameterError(
        f"unable to find user {user}: no matching entries in passwd file of the image"
    )


def _find_group(group: str, tree: Tree) -> int:
    number = _number(group)
    if number is not None:
        return number
    for row in _rows(tree, "etc/group"):
        if row[0] == group and len(row) > 2:
            gid = _number(row[2])
            if gid is not None:
                return gid
    raise InvalidParameterError(
        f"unable to find group {group}: no matching entries in group file of the image"
    )


def names_digests(owner: str, tree: Tree) -> list[str]:
    """Return digests of the files that decide what the names of ``owner`` mean."""
    user, _, group = owner.partition(":")
    files: list[str] = []
    if user and _number(user) is None:
        files.append("etc/passwd")
    if group and _number(group) is None:
        files.append("etc/group")
    return [
        sha256_digest((read_text(tree, path) or "").encode(errors="surrogateescape"))
        for path in files
    ]
