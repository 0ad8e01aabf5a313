"""Capability sets of the calling thread, capabilities(7). Numbers of linux/capability.h."""

from __future__ import annotations

import ctypes

from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux.libc import LIBC, check
from kedge.linux.prctl import prctl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


NAMES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS: Final = {name: number for number, name in enumerate(NAMES)}
SYS_ADMIN: Final = 1 << NUMBERS["CAP_SYS_ADMIN"]

_VERSION_3: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class CapabilitySets(NamedTuple):
    """Three sets as bit masks."""

    effective: int
    permitted: int
    inheritable: int


_capset = LIBC.capset
_capget = LIBC.capget


def mask_of(names: Iterable[str]) -> int:
    """Return the bit mask of capability names.

    Raises:
        KeyError: A name no kernel header knows.
    """
    mask = 0
    for name in names:
        mask |= 1 << NUMBERS[name]
    return mask


def get_capabilities() -> CapabilitySets:
    """Return the effective, permitted and inheritable sets of this thread."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    check(_capget(ctypes.byref(header), ctypes.byref(data)))
    return CapabilitySets(
        effective=data[0].effective | data[1].effective << 32,
        permitted=data[0].permitted | data[1].permitted << 32,
        inheritable=data[0].inheritable | data[1].inheritable << 32,
    )


def set_capabilities(sets: CapabilitySets) -> None:
    """Replace the effective, permitted and inheritable sets of this thread."""
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    for index in range(2):
        shift = 32 * index
        data[index].effective = sets.effective >> shift & 0xFFFFFFFF
        data[index].permitted = sets.permitted >> shift & 0xFFFFFFFF
        data[index].inheritable = sets.inheritable >> shift & 0xFFFFFFFF
    check(_capset(ctypes.byref(header), ctypes.byref(data)))


def last_capability() -> int:
    """Return the highest capability number this kernel knows."""
    number = len(NAMES) - 1
    while number >= 0:
        try:
            prctl(_PR_CAPBSET_READ, number)
        except OSError:
            number -= 1
        else:
            break
    return number


def drop_bounding(mask: int) -> None:
    """Remove the capabilities in ``mask`` from the bounding set, for ever."""
    number = 0
    while mask >> number:
        if mask >> number & 1:
            prctl(PR_CAPBSET_DROP, number)
        number += 1


def get_bounding() -> int:
    """Return the bounding set as a mask."""
    mask = 0
    for number in range(last_capability() + 1):
        if prctl(_PR_CAPBSET_READ, number):
            mask |= 1 << number
    return mask


def set_ambient(mask: int) -> None:
    """Make the ambient set exactly ``mask``, which must be permitted and inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    number = 0
    while mask >> number:
        if mask >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
        number += 1
