"""Published ports: the short form and what it stands for. Pure."""

import re
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_PORT_MAX: Final = 65535
_BYTES: Final = frozenset(map(str, range(256)))
_SHAPE: Final = re.compile(
    r"(?:(?:\[(?P<six>[^\]]*)\]|(?P<ip>.*)):(?=[^:]*:))?(?:(?P<host>[^:]*):)?(?P<container>[^:]*)"
)


def parse_port(text: str) -> list[JsonObject]:
    """Return the long forms of one short form: ``127.0.0.1:8000-8001:80-81/tcp``.

    Raises:
        InvalidParameterError: Docker's text for the reason.
    """
    bare, _, protocol = text.partition("/")
    match = _SHAPE.fullmatch(bare)
    if match is None or not match["container"]:
        raise InvalidParameterError(f"No port specified: {text or '<empty>'}")
    address = _address(match["six"] if match["six"] is not None else match["ip"])
    protocol = (protocol or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise InvalidParameterError(f"Invalid proto: {protocol}")
    container = _range("containerPort", match["container"])
    host = _range("hostPort", match["host"]) if match["host"] else None
    spread = host is not None and len(host) != len(container)
    if spread and len(container) != 1:
        raise InvalidParameterError(
            f"Invalid ranges specified for container and host Ports: {bare}"
        )
    entries: list[JsonObject] = []
    for index, target in enumerate(container):
        entry: JsonObject = {"mode": "ingress"}
        if address:
            entry["host_ip"] = address
        entry["target"] = target
        if host is not None:
            entry["published"] = f"{host[0]}-{host[-1]}" if spread else str(host[index])
        entry["protocol"] = protocol
        entries.append(entry)
    return entries


def _address(text: str | None) -> str:
    if not text:
        return ""
    parts = text.split(".")
    if len(parts) == 4 and all(part in _BYTES for part in parts):
        return text
    import ipaddress  # noqa: PLC0415 - rarely needed

    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise InvalidParameterError(f"Invalid ip address: {text}") from None
    return text


def _range(what: str, text: str) -> range:
    first, dash, last = text.partition("-")
    if not is_port(first) or (dash and not is_port(last)) or (dash and int(last) < int(first)):
        raise InvalidParameterError(f"Invalid {what}: {text}")
    return range(int(first), int(last or first) + 1)


def is_port(text: str) -> bool:
    """Whether a text is the number of a port."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _PORT_MAX


def expand_ports(entries: list[Json], *, lenient: bool = False) -> list[Json]:
    """Return the long forms of a list; ``lenient`` leaves texts that hold variables as they are."""
    expanded: list[Json] = []
    for entry in entries:
        if isinstance(entry, dict):
            expanded.append(entry)
            continue
        if isinstance(entry, bool) or not isinstance(entry, (str, int)):
            raise InvalidParameterError(f"invalid port: {entry}")
        try:
            expanded += parse_port(str(entry))
        except InvalidParameterError:
            if not lenient:
                raise
            expanded.append(entry)
    return expanded


def with_port_defaults(entry: JsonObject) -> JsonObject:
    """Return a long form with its protocol and mode filled in."""
    return {**entry, "protocol": entry.get("protocol", "tcp"), "mode": entry.get("mode", "ingress")}
