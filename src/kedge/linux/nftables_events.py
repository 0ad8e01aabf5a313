"""What the kernel announces about nf_tables: which tables were removed, by whomever.

The multicast group ``NFNLGRP_NFTABLES`` of ``nfnetlink.h``. Changes of sets alone, which is what
publishing a port is, are dropped inside the kernel by a socket filter, so that the reader sleeps
through them.
"""

import ctypes
import errno
import socket
import struct
from typing import Final

from kedge.linux.netlink import NETLINK_NETFILTER, parse_messages
from kedge.linux.nftables import parse_table

_GROUP: Final = 7
_SUBSYSTEM: Final = 10 << 8
_DELETE_TABLE: Final = _SUBSYSTEM | 2
_QUIET: Final = (_SUBSYSTEM | 12, _SUBSYSTEM | 14, _SUBSYSTEM | 15)
"""``NFT_MSG_NEWSETELEM``, ``NFT_MSG_DELSETELEM``, ``NFT_MSG_NEWGEN``."""
_TYPE_OFFSET: Final = 4
_LOAD_HALF: Final = 0x28
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_SO_ATTACH_FILTER: Final = 26
_RECEIVE_BYTES: Final = 1 << 16


def open_table_events() -> socket.socket:
    """Return a non-blocking socket that hears of every table removed in this thread's namespace."""
    events = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        NETLINK_NETFILTER,
    )
    try:
        _attach_filter(events)
        events.bind((0, 1 << (_GROUP - 1)))
    except BaseException:
        events.close()
        raise
    return events


def removed_tables(events: socket.socket) -> set[str] | None:
    """Return the names of the tables removed since the last call; None where some were missed."""
    names: set[str] = set()
    while True:
        try:
            data = events.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return names
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise
        for message in parse_messages(data):
            if message.type == _DELETE_TABLE:
                names.add(parse_table(message)[1])


def _attach_filter(events: socket.socket) -> None:
    # A classic filter reads in network order what the kernel wrote in the machine's.
    quiet = [int.from_bytes(struct.pack("=H", kind), "big") for kind in _QUIET]
    code = [(_LOAD_HALF, 0, 0, _TYPE_OFFSET)]
    code += [(_JUMP_EQUAL, len(quiet) - n, 0, kind) for n, kind in enumerate(quiet)]
    code += [(_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *item) for item in code))
    described = struct.pack("@HP", len(code), ctypes.addressof(program))
    events.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
