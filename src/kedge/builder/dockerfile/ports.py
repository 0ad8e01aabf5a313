"""The words of EXPOSE: ``80``, ``80/udp``, ``8000-8010``.

Forms of ``--publish`` such as ``127.0.0.1:80:8080`` are taken too; their host part is ignored.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError

_PROTOCOLS: Final = ("tcp", "udp", "sctp")
_LAST_PORT: Final = 65535


def parse_exposed_ports(words: Iterable[str]) -> tuple[str, ...]:
    """Return ``port/protocol`` for every container port of ``words``, in order, each once.

    Raises:
        DockerfileError: A word names no port, an unknown protocol, or a host that is no address.
    """
    found: dict[str, None] = {}
    for word in words:
        for port in _ports_of(word):
            found[port] = None
    return tuple(found)


def _ports_of(word: str) -> Iterator[str]:
    ports, _, protocol = word.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise DockerfileError(f'invalid port: "{word}": invalid proto: {protocol}')
    host, _, container = ports.rpartition(":")
    if not container:
        raise DockerfileError(f'invalid port: "{word}": no port specified')
    _check_host(word, host)
    first, last = _range(word, container)
    for number in range(first, last + 1):
        yield f"{number}/{protocol}"


def _check_host(word: str, host: str) -> None:
    address, _, published = host.rpartition(":")
    if published:
        _range(word, published)
    if not address:
        return
    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        if not set(address) <= {":"}:
            raise DockerfileError(
                f'invalid port: "{word}": invalid IP address: {address}'
            ) from None


def _range(word: str, text: str) -> tuple[int, int]:
    first, separator, last = text.partition("-")
    start = _number(word, first)
    end = _number(word, last) if separator else start
    if end < start:
        raise DockerfileError(f'invalid port: "{word}": invalid range {text}')
    return start, end


def _number(word: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 6 or int(text) > _LAST_PORT:
        raise DockerfileError(f'invalid port: "{word}": invalid containerPort: {text}')
    return int(text)
