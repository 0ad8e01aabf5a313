"""The options of ``RUN --mount``: bind, cache, tmpfs, secret and ssh.

Values may hold variables, except ``from``; they are expanded before a mount is parsed. Whether a
builder can provide a mount is decided where the step runs, not here.
"""

import csv
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError, suggestion


class MountKind(StrEnum):
    """The ``type`` of a mount."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - the name of a mount type
    SSH = "ssh"


class Sharing(StrEnum):
    """Who may use a cache mount at the same time."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount of one RUN."""

    kind: MountKind = MountKind.BIND
    target: str = ""
    source: str = ""
    from_: str = ""
    cache_id: str = ""
    """``id`` of a cache, secret or ssh mount; empty when it takes its default."""
    sharing: Sharing = Sharing.SHARED
    read_only: bool = True
    is_required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size_bytes: int = 0
    variable: str = ""
    """``env`` of a secret."""


_ALIASES: Final = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS: Final = (
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "readwrite",
    "id",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "size",
    "env",
)
_SWITCHES: Final = frozenset({"readonly", "readwrite", "required"})
_ONLY: Final[dict[str, tuple[MountKind, ...]]] = {
    "sharing": (MountKind.CACHE,),
    "size": (MountKind.TMPFS,),
    "required": (MountKind.SECRET, MountKind.SSH),
    "mode": (MountKind.CACHE, MountKind.SECRET, MountKind.SSH),
    "uid": (MountKind.CACHE, MountKind.SECRET, MountKind.SSH),
    "gid": (MountKind.CACHE, MountKind.SECRET, MountKind.SSH),
    "env": (MountKind.SECRET,),
    "from": (MountKind.BIND, MountKind.CACHE),
    "readwrite": (MountKind.BIND, MountKind.CACHE),
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)


def parse_mount(text: str, expand: Callable[[str], str] = str) -> RunMount:
    """Return the mount that ``text`` (the value of one ``--mount``) describes.

    Args:
        text: Comma-separated ``key=value`` fields, quoted as CSV.
        expand: Replaces variables in one value.

    Raises:
        DockerfileError: A key or value is unknown, missing or not for this type of mount.
    """
    fields = _fields(text, expand)
    kind = _kind(fields.pop("type", "bind"))
    for key in fields:
        allowed = _ONLY.get(key)
        if allowed is not None and kind not in allowed:
            raise DockerfileError(f"unexpected key '{key}' for mount type '{kind}'")
    mount = RunMount(
        kind=kind,
        target=fields.get("target", ""),
        source=fields.get("source", ""),
        from_=fields.get("from", ""),
        cache_id=fields.get("id", ""),
        sharing=_sharing(fields.get("sharing", "shared")),
        read_only=_read_only(kind, fields),
        is_required=fields.get("required", "false") == "true",
        mode=_number(fields, "mode", 8),
        uid=_number(fields, "uid", 10),
        gid=_number(fields, "gid", 10),
        size_bytes=_size(fields.get("size", "0")),
        variable=fields.get("env", ""),
    )
    _check_target(mount)
    return mount


def _fields(text: str, expand: Callable[[str], str]) -> dict[str, str]:
    try:
        row = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise DockerfileError(f"failed to parse csv mounts: {error}") from None
    fields: dict[str, str] = {}
    for part in row:
        name, separator, value = part.partition("=")
        key = _ALIASES.get(name.lower(), name.lower())
        if key not in _KEYS:
            known = (*_KEYS, *_ALIASES)
            raise DockerfileError(f"unexpected key '{name}' in '{part}'{suggestion(key, known)}")
        if key in _SWITCHES:
            fields[key] = _switch(key, expand(value) if separator else "true")
        elif not separator:
            raise DockerfileError(f"invalid field '{part}' must be a key=value pair")
        elif key == "from":
            if "$" in value:
                raise DockerfileError(
                    f"'{value}' of mount option from cannot use variables; name a stage or image"
                )
            fields[key] = value
        else:
            fields[key] = expand(value)
    return fields


def _switch(key: str, value: str) -> str:
    lowered = value.lower()
    if lowered in ("1", "t", "true"):
        return "true"
    if lowered in ("0", "f", "false"):
        return "false"
    raise DockerfileError(f"invalid value for {key}: {value}")


def _kind(value: str) -> MountKind:
    try:
        return MountKind(value.lower())
    except ValueError:
        raise DockerfileError(
            f"unsupported mount type '{value}'{suggestion(value, MountKind)}"
        ) from None


def _sharing(value: str) -> Sharing:
    try:
        return Sharing(value.lower())
    except ValueError:
        raise DockerfileError(
            f"unsupported sharing value '{value}'{suggestion(value, Sharing)}"
        ) from None


def _read_only(kind: MountKind, fields: dict[str, str]) -> bool:
    if "readwrite" in fields:
        return fields["readwrite"] == "false"
    return fields.get("readonly", "true" if kind is MountKind.BIND else "false") == "true"


def _number(fields: dict[str, str], key: str, base: int) -> int | None:
    if key not in fields:
        return None
    try:
        value = int(fields[key], base)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise DockerfileError(f"invalid value {fields[key]} for {key}")
    return value


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None or len(match[1]) > 18:
        raise DockerfileError(f"invalid value {text} for size")
    power = " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * 1024**power)


def _check_target(mount: RunMount) -> None:
    needs = mount.kind in (MountKind.BIND, MountKind.CACHE, MountKind.TMPFS)
    if needs and not mount.target:
        raise DockerfileError(f"target is required for mount type '{mount.kind}'")
    if mount.target and posixpath.normpath(mount.target) in ("/", "//"):
        raise DockerfileError(f"invalid mount target '{mount.target}'")
    if mount.kind is MountKind.SECRET and not (mount.target or mount.source or mount.cache_id):
        raise DockerfileError("invalid secret mount. one of source, target required")
