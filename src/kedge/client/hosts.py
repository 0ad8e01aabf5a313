"""An engine's address: ``-H``, ``KEDGE_HOST``, ``DOCKER_HOST`` or the default socket. Pure."""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import Final

DEFAULT_SOCKET: Final = "/run/kedge/kedge.sock"
_DEFAULT_PORT: Final = 2375
_WANTED: Final = "want unix:///PATH, tcp://NAME:PORT or ssh://[USER@]NAME"


class Host(NamedTuple):
    """An engine's address; a unix socket has a path, TCP and ssh a name and a port."""

    path: str = ""
    name: str = ""
    port: int = 0
    scheme: str = ""
    """``ssh``, or empty."""
    remote_path: str = ""
    """Socket on the other side of ssh; empty for the default there."""
    dial: Callable[[], _socket.socket] | None = None
    """How to get a connection where the address alone does not say."""

    def __str__(self) -> str:
        """Return the address as ``-H`` takes it."""
        if self.path:
            return f"unix://{self.path}"
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme or 'tcp'}://{self.name}{port}{self.remote_path}"


class TlsChoice(NamedTuple):
    """Files for a TLS connection; empty ones are not used."""

    verify: bool
    ca: str = ""
    cert: str = ""
    key: str = ""


DEFAULT_HOST: Final = Host(path=DEFAULT_SOCKET)


def select_host(flag: str, environ: Mapping[str, str]) -> Host:
    """Return the engine an address or the environment names.

    Args:
        flag: Value of ``-H``, empty when not given.
        environ: ``KEDGE_HOST`` wins over ``DOCKER_HOST``.

    Raises:
        InvalidParameterError: An address that is none.
    """
    text = flag or environ.get("KEDGE_HOST", "") or environ.get("DOCKER_HOST", "")
    return parse_host(text) if text.strip() else DEFAULT_HOST


def parse_host(text: str) -> Host:
    """Return the address in ``text``: ``unix://PATH``, ``tcp://[NAME][:PORT]`` or ``ssh://…``.

    Raises:
        InvalidParameterError: Another scheme, a relative path or no port.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        raise InvalidParameterError(f"unable to parse host {text!r}: {_WANTED}")
    if scheme == "unix" and (not rest or rest.startswith("/")):
        return Host(path=rest) if rest else DEFAULT_HOST
    if scheme in {"tcp", "http", "https", "ssh"}:
        address, slash, path = rest.partition("/")
        name, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            name, port = address, ""
        if scheme == "ssh":
            return _ssh_host(text, name, port, slash + path if path else "")
        port = port or str(_DEFAULT_PORT)
        if port.isdigit() and 0 < int(port) < 65536:
            return Host(name=name.strip("[]") or "localhost", port=int(port))
    raise InvalidParameterError(f"invalid host {text!r}: {_WANTED}")


def _ssh_host(text: str, name: str, port: str, path: str) -> Host:
    user, _, machine = name.rpartition("@")
    # A name that starts with a dash would be an option of ssh.
    if not machine or machine.startswith("-") or user.startswith("-") or ":" in user:
        raise InvalidParameterError(f"invalid host {text!r}: {_WANTED}, without a password")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise InvalidParameterError(f"invalid host {text!r}: {_WANTED}")
    return Host(name=name, port=int(port or "0"), scheme="ssh", remote_path=path)
