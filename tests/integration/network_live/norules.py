"""Threads that may not speak to nf_tables, and the engines they start."""

import errno
import os
import struct

from kedge.linux.seccomp import set_filter

_AF_NETLINK, _NETLINK_NETFILTER = 16, 12
_SOCKET = {"x86_64": 41, "aarch64": 198}
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _DOMAIN, _PROTOCOL = 0, 16, 32

NO_KERNEL_PART, NO_RIGHT = errno.EPROTONOSUPPORT, errno.EPERM


def refuse_packet_filter(number: int) -> None:
    """Let every netfilter socket of this thread, and of what it starts, fail; for good."""
    machine = _SOCKET[os.uname().machine]
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _NUMBER),
            (_JUMP_EQUAL, 0, 5, machine),
            (_LOAD, 0, 0, _DOMAIN),
            (_JUMP_EQUAL, 0, 3, _AF_NETLINK),
            (_LOAD, 0, 0, _PROTOCOL),
            (_JUMP_EQUAL, 0, 1, _NETLINK_NETFILTER),
            (_RETURN, 0, 0, _ERRNO | number),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    set_filter(program)
