"""Which engine to talk to: ``-H``, ``KEDGE_HOST``, ``DOCKER_HOST`` or the default socket. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError

DEFAULT_SOCKET: Final = "/run/kedge/kedge.sock"
_DEFAULT_PORT: Final = 2375


class Host(NamedTuple):
    """An engine's address; a unix socket has a path, TCP a name and a port."""

    path: str = ""
    name: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Return the address as ``-H`` takes it."""
        return f"unix://{self.path}" if self.path else f"tcp://{self.name}:{self.port}"


DEFAULT_HOST: Final = Host(path=DEFAULT_SOCKET)


def select_host(flag: str, environ: Mapping[str, str]) -> Host:
    """Return the engine a command talks to.

    Args:
        flag: Value of ``-H``, empty when not given.
        environ: ``KEDGE_HOST`` wins over ``DOCKER_HOST``.

    Raises:
        InvalidParameterError: An address that is none.
    """
    text = flag or environ.get("KEDGE_HOST", "") or environ.get("DOCKER_HOST", "")
    return parse_host(text) if text.strip() else DEFAULT_HOST


def parse_host(text: str) -> Host:
    """Return the address in ``text``: ``unix://PATH`` or ``tcp://[NAME][:PORT]``.

    Raises:
        InvalidParameterError: Another scheme, a relative path or no port.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        raise InvalidParameterError(
            f"unable to parse host {text!r}: want unix://PATH or tcp://NAME:PORT"
        )
    if scheme == "unix" and (not rest or rest.startswith("/")):
        return Host(path=rest) if rest else DEFAULT_HOST
    if scheme in {"tcp", "http"}:
        address = rest.partition("/")[0]
        name, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            name, port = address, ""
        port = port or str(_DEFAULT_PORT)
        if port.isdigit() and 0 < int(port) < 65536:
            return Host(name=name.strip("[]") or "localhost", port=int(port))
    raise InvalidParameterError(f"invalid host {text!r}: want unix:///PATH or tcp://NAME:PORT")
