"""The few things of ``netdevice(7)`` a process needs in a network namespace it has just made."""

import fcntl
import struct
from socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
from typing import Final

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_REQUEST: Final = struct.Struct("16sh22x")


def set_loopback_up() -> None:
    """Bring ``lo`` up in this process's network namespace; it gets 127.0.0.1 and its routes.

    Raises:
        OSError: Not permitted there.
    """
    with socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC) as device:
        answer = fcntl.ioctl(device, _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0))
        _name, flags = _REQUEST.unpack(answer)
        fcntl.ioctl(device, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _IFF_UP))
