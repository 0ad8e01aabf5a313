"""Names in a copy: what is copied, and what it is called where it arrives. Follows docker cp.

``a/.`` means what is in a, ``a/`` insists on a folder. Pure but for `resolve_source`.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat

from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Final


# Bits of Go's FileMode, which is what the engine reports.
_GO_DIR: Final = 1 << 31
_GO_LINK: Final = 1 << 27
_GO_DEVICE: Final = (1 << 26) | (1 << 25) | (1 << 24)


class PathStat(NamedTuple):
    """What a path is."""

    mode: int
    is_dir: bool = False
    is_link: bool = False
    is_device: bool = False
    """A device, pipe or socket: nothing can be copied into it."""
    link_target: str = ""


class LocalSource(NamedTuple):
    """A path of this host that is to be copied, and the name it has in the archive."""

    path: str
    base: str
    is_dir: bool


def parse_stat(header: str) -> PathStat:
    """Return the stat in ``X-Docker-Container-Path-Stat``.

    Raises:
        InvalidParameterError: It is not base64 of JSON.
    """
    import base64  # noqa: PLC0415 - kept off the way of every other command

    try:
        document = json.loads(base64.b64decode(header))
        mode = int(document["mode"])
        target = str(document.get("linkTarget") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidParameterError("the engine's answer does not say what the path is") from None
    return PathStat(
        mode, bool(mode & _GO_DIR), bool(mode & _GO_LINK), bool(mode & _GO_DEVICE), target
    )


def base_name(path: str) -> str:
    """Return the name a path has in an archive: ``.`` for ``a/.``, ``/`` for the root."""
    return _split(path)[1] or "/"


def parent_of(path: str) -> str:
    """Return the folder a path is in."""
    return _split(path)[0]


def _split(path: str) -> tuple[str, str]:
    is_content = path == "." or path.endswith("/.")
    cleaned = posixpath.normpath(path)
    if is_content:
        return cleaned, "."
    folder, name = posixpath.split(cleaned)
    return folder or ".", name


def placement(base: str, *, is_dir: bool, target: str, found: PathStat | None) -> tuple[str, str]:
    """Return the folder an archive is unpacked in, and the name its first entry gets there.

    Args:
        base: Name of the source in the archive.
        is_dir: Whether the source is a folder.
        target: Where the person wants it.
        found: What is there already; None where nothing is.

    Raises:
        InvalidParameterError: A folder onto a file.
        NotFoundError: A file into a folder that does not exist.
    """
    if found is not None and found.is_dir:
        return target, base
    if found is not None and is_dir:
        raise InvalidParameterError("cannot copy directory")
    insists = target.endswith(("/", "/.")) or target == "."
    if not is_dir and insists:
        raise NotFoundError("no such directory" if found is None else "not a directory")
    return parent_of(target), base_name(target)


def resolve_source(path: str, *, follow: bool) -> LocalSource:
    """Return what a path of this host names; links on the way are followed, the last if asked.

    Raises:
        NotFoundError: Nothing is there.
        InvalidParameterError: ``a/`` where a is a file.
    """
    insists = path.endswith("/")
    is_content = path == "." or path.endswith("/.")
    cleaned = os.path.abspath(path)
    if follow or insists or is_content:
        found = os.path.realpath(cleaned)
    else:
        found = os.path.join(os.path.realpath(os.path.dirname(cleaned)), os.path.basename(cleaned))
    try:
        status = os.lstat(found)
    except FileNotFoundError:
        raise NotFoundError(f"lstat {path}: no such file or directory") from None
    is_dir = stat.S_ISDIR(status.st_mode)
    if (insists or is_content) and not is_dir:
        raise InvalidParameterError(f"{path}: not a directory")
    return LocalSource(found, "." if is_content else os.path.basename(cleaned) or "/", is_dir)
