"""The addresses a server listens on: unix sockets, TCP, and sockets inherited from systemd.

A unix socket is for its owner and one group. Its permissions are set between bind and listen, so
that there is no moment at which others can connect.
"""

import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kedge.errdefs import ConflictError, InvalidParameterError, SystemFailureError

LISTEN_BACKLOG: Final = 4096
_SOCKET_MODE: Final = 0o660
_FIRST_INHERITED_FD: Final = 3
_SOCKET_GROUPS: Final = ("kedge", "docker")


class Listener(NamedTuple):
    """A listening socket, its address, and the path to remove when it closes."""

    sock: socket.socket
    address: str
    path: str


def open_listener(address: str, *, groups: Sequence[str] = _SOCKET_GROUPS) -> Listener:
    """Return a socket that listens on ``unix:///path`` or ``tcp://host:port``.

    Args:
        address: Where; port 0 lets the kernel choose.
        groups: The first that exists may use a unix socket beside its owner.

    Raises:
        ConflictError: Somebody listens there.
        InvalidParameterError: The address is of neither form.
        SystemFailureError: The host refuses.
    """
    scheme, separator, rest = address.partition("://")
    try:
        match scheme:
            case "unix" if rest.startswith("/"):
                return _listen_unix(rest, groups)
            case "tcp" if separator:
                return _listen_tcp(address)
            case _:
                raise InvalidParameterError(
                    f"invalid address {address!r}: use unix:///path or tcp://host:port"
                )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"address already in use: {address}") from None
        raise SystemFailureError(f"cannot listen on {address}: {error.strerror}") from None


def inherited_listeners(environment: Mapping[str, str]) -> list[Listener]:
    """Return the sockets systemd passed to this process (``sd_listen_fds(3)``), for ``fd://``."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "0")
    if not count.isdigit():
        raise InvalidParameterError(f"bad LISTEN_FDS: {count!r}")
    return [adopt_listener(_FIRST_INHERITED_FD + offset) for offset in range(min(int(count), 1024))]


def adopt_listener(fd: int) -> Listener:
    """Return the listening socket behind ``fd``, which it then owns.

    Raises:
        InvalidParameterError: ``fd`` is not a socket.
    """
    try:
        # A duplicate, because the one from systemd is inherited by every child.
        sock = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise InvalidParameterError(f"fd {fd} is not a socket: {error.strerror}") from None
    os.close(fd)
    return Listener(sock, f"fd://{fd}", "")


def close_listener(listener: Listener) -> None:
    """Stop listening; remove the socket file if it is still this listener's."""
    if listener.path:
        with contextlib.suppress(OSError):
            if not _is_served(listener.path, by_other_than=listener.sock):
                os.unlink(listener.path)
    listener.sock.close()


def _listen_unix(path: str, groups: Sequence[str]) -> Listener:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, _SOCKET_MODE)
        group = _group_id(groups)
        if group is not None and os.geteuid() == 0:
            os.chown(path, -1, group)
        sock.listen(LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Listener(sock, f"unix://{path}", path)


def _remove_stale(path: str) -> None:
    """Remove a socket that a dead server left; refuse to touch anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConflictError(f"{path} exists and is not a socket: remove it or use another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise ConflictError(f"another engine listens on {path}")


def _is_served(path: str, *, by_other_than: socket.socket) -> bool:
    """Return whether somebody else listens at ``path`` since ``by_other_than`` closed."""
    by_other_than.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(path) == 0


def _group_id(groups: Sequence[str]) -> int | None:
    for name in groups:
        with contextlib.suppress(KeyError):
            return grp.getgrnam(name).gr_gid
    return None


def _listen_tcp(address: str) -> Listener:
    host, port = _split_host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
    shown = f"[{host}]" if family is socket.AF_INET6 else host
    return Listener(sock, f"tcp://{shown}:{sock.getsockname()[1]}", "")


def _split_host_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise InvalidParameterError(f"invalid address {address!r}: use tcp://host:port")
    return host, port
