"""Parsing the `options` of an OCI mount into what the kernel's mount API takes; pure.

The names are those of the runtime specification's tables (config.md, "Linux mount options"):
per-mount attributes, their recursive forms with a leading ``r``, propagation, superblock flags,
and everything else is data for the file system. A later option overrides an earlier one.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import mount as lm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


_CLEAR: Final = True
_SET: Final = False

_ATTRIBUTES: Final = {
    "ro": (_SET, lm.MOUNT_ATTR_RDONLY),
    "rw": (_CLEAR, lm.MOUNT_ATTR_RDONLY),
    "nosuid": (_SET, lm.MOUNT_ATTR_NOSUID),
    "suid": (_CLEAR, lm.MOUNT_ATTR_NOSUID),
    "nodev": (_SET, lm.MOUNT_ATTR_NODEV),
    "dev": (_CLEAR, lm.MOUNT_ATTR_NODEV),
    "noexec": (_SET, lm.MOUNT_ATTR_NOEXEC),
    "exec": (_CLEAR, lm.MOUNT_ATTR_NOEXEC),
    "nodiratime": (_SET, lm.MOUNT_ATTR_NODIRATIME),
    "diratime": (_CLEAR, lm.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (_SET, lm.MOUNT_ATTR_NOSYMFOLLOW),
    "symfollow": (_CLEAR, lm.MOUNT_ATTR_NOSYMFOLLOW),
}
# These are values of one field, not bits, so each replaces the whole field.
_ATIMES: Final = {
    "relatime": lm.MOUNT_ATTR_RELATIME,
    "norelatime": lm.MOUNT_ATTR_RELATIME,
    "noatime": lm.MOUNT_ATTR_NOATIME,
    "atime": lm.MOUNT_ATTR_RELATIME,
    "strictatime": lm.MOUNT_ATTR_STRICTATIME,
    "nostrictatime": lm.MOUNT_ATTR_RELATIME,
}
_PROPAGATION: Final = {
    "private": lm.MS_PRIVATE,
    "shared": lm.MS_SHARED,
    "slave": lm.MS_SLAVE,
    "unbindable": lm.MS_UNBINDABLE,
}
_SUPERBLOCK_FLAGS: Final = frozenset(
    ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", "acl", "noacl")
)
# Ours: no kernel option has such a prefix (mount(8), "x-").
_SUBPATH: Final = "x-kedge.subpath="
_IGNORED: Final = frozenset(
    ("defaults", "remount", "loud", "silent", "iversion", "noiversion", "_netdev", "nofail", "")
)


class MountOptions(NamedTuple):
    """What a list of options asks for."""

    attr_set: int = 0
    attr_clr: int = 0
    recursive_set: int = 0
    recursive_clr: int = 0
    propagation: tuple[tuple[int, bool], ...] = ()
    """``MS_*`` and whether it goes for the mounts below, too."""
    bind: bool = False
    recursive_bind: bool = False
    superblock: tuple[str, ...] = ()
    data: tuple[tuple[str, str | None], ...] = ()
    """Keys and values for ``fsconfig``; None for a key without a value."""
    copy_up: bool = False
    """``tmpcopyup``: the new tmpfs starts with what it hides."""
    idmap: str = ""
    """``idmap`` or ``ridmap``."""
    subpath: str = ""
    """``x-kedge.subpath``: what of a bind's source to show; its links cannot lead out of it."""


class _Bits:
    """The attributes to set and to clear, where the last word counts."""

    __slots__ = ("clr", "set")

    def __init__(self) -> None:
        self.set = 0
        self.clr = 0

    def take(self, name: str) -> bool:
        found = _ATTRIBUTES.get(name)
        if found is not None:
            clear, bit = found
            if clear:
                self.set &= ~bit
                self.clr |= bit
            else:
                self.set |= bit
                self.clr &= ~bit
            return True
        atime = _ATIMES.get(name)
        if atime is None:
            return False
        self.set = self.set & ~lm.MOUNT_ATTR__ATIME | atime
        self.clr |= lm.MOUNT_ATTR__ATIME
        return True


def parse_mount_options(options: Sequence[str]) -> MountOptions:
    """Return what ``options`` ask for; names of no table become data for the file system."""
    plain = _Bits()
    recursive = _Bits()
    propagation: list[tuple[int, bool]] = []
    superblock: list[str] = []
    data: list[tuple[str, str | None]] = []
    words: set[str] = set()
    subpath = ""
    for option in options:
        if plain.take(option) or option in _IGNORED:
            continue
        if option in ("bind", "rbind", "tmpcopyup", "idmap", "ridmap"):
            words.add(option)
        elif option in _PROPAGATION:
            propagation.append((_PROPAGATION[option], False))
        elif option[0] == "r" and option[1:] in _PROPAGATION:
            propagation.append((_PROPAGATION[option[1:]], True))
        elif option[0] == "r" and recursive.take(option[1:]):
            continue
        elif option in _SUPERBLOCK_FLAGS:
            superblock.append(option)
        elif option.startswith(_SUBPATH):
            subpath = option.removeprefix(_SUBPATH)
        else:
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
    return MountOptions(
        attr_set=plain.set,
        attr_clr=plain.clr,
        recursive_set=recursive.set,
        recursive_clr=recursive.clr,
        propagation=tuple(propagation),
        bind=bool(words & {"bind", "rbind"}),
        recursive_bind="rbind" in words,
        superblock=tuple(superblock),
        data=tuple(data),
        copy_up="tmpcopyup" in words,
        idmap="ridmap" if "ridmap" in words else "idmap" if "idmap" in words else "",
        subpath=subpath,
    )


def option_names() -> frozenset[str]:
    """Return every name that is understood here and not passed to the file system."""
    plain = {*_ATTRIBUTES, *_ATIMES, *_PROPAGATION}
    others = {"bind", "rbind", "tmpcopyup", "idmap", "ridmap"}
    known = plain | {f"r{name}" for name in plain} | others | _SUPERBLOCK_FLAGS | _IGNORED
    return frozenset(known - {""})
