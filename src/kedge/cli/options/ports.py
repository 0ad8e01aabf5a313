"""``-p`` and ``--expose``: ports and how they are published. Pure.

Source of the grammar and texts: docker/go-connections ``nat``.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_MAX: Final = 65535


class Mapping(NamedTuple):
    """One container port and where it is published."""

    port: str
    """Container port with protocol, such as ``80/tcp``."""
    host_ip: str = ""
    host_port: str = ""


def parse_port_number(text: str) -> int:
    """Return a port number.

    Raises:
        InvalidParameterError: It is none; the text says why and leaves naming it to the caller.
    """
    if not text:
        raise InvalidParameterError("value is empty")
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidParameterError("invalid syntax")
    number = int(text)
    if not 0 <= number <= _MAX:
        raise InvalidParameterError("value out of range (0\u201365535)")
    return number


def parse_port_range(text: str) -> tuple[int, int]:
    """Return first and last port of ``80`` or ``80-90``.

    Raises:
        InvalidParameterError: No range, or it runs backwards.
    """
    if not text:
        raise InvalidParameterError("empty string specified for ports")
    first, dash, last = text.partition("-")
    start = _number(first, "start")
    if not dash:
        return start, start
    end = _number(last, "end")
    if end < start:
        raise InvalidParameterError(f"invalid port range: {text}")
    return start, end


def _number(text: str, which: str) -> int:
    try:
        return parse_port_number(text)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"invalid {which} port '{text}': {error}") from None


def split_protocol(text: str) -> tuple[str, str]:
    """Return port and protocol of ``80/udp``; tcp where none is given, nothing without a port."""
    port, _, protocol = text.partition("/")
    return (port, protocol or "tcp") if port else ("", "")


def parse_port_spec(text: str) -> list[Mapping]:
    """Return the mappings of one ``-p`` value: ``[[IP:][HOST]:]CONTAINER[/PROTOCOL]``, with ranges.

    Raises:
        InvalidParameterError: It is malformed.
    """
    address, host, container = _split(text)
    container, protocol = split_protocol(container)
    if container == "":
        raise InvalidParameterError(f"no port specified: {text}<empty>")
    ip = _check_ip(address)
    try:
        first, last = parse_port_range(container)
    except InvalidParameterError:
        raise InvalidParameterError(f"invalid containerPort: {container}") from None
    host_range = _host_range(host)
    protocol = protocol.lower()
    if protocol not in _PROTOCOLS:
        raise InvalidParameterError(f"invalid proto: {protocol}")
    if host_range is None:
        return [Mapping(f"{port}/{protocol}", ip, "") for port in range(first, last + 1)]
    host_first, host_last = host_range
    if host_last - host_first == last - first:
        return [
            Mapping(f"{port}/{protocol}", ip, str(host_first + port - first))
            for port in range(first, last + 1)
        ]
    if first != last:
        raise InvalidParameterError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )
    # One container port, any free port of a range.
    return [Mapping(f"{first}/{protocol}", ip, f"{host_first}-{host_last}")]


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) <= 2:
        return "", parts[0] if len(parts) == 2 else "", parts[-1]
    # An address in brackets or a bare IPv6 one has colons of its own.
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _check_ip(text: str) -> str:
    if not text:
        return ""
    from kedge.cli.options.values import is_ip  # noqa: PLC0415 - only with an address

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not is_ip(bare):
        raise InvalidParameterError(f"invalid IP address: {bare}")
    return bare


def _host_range(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        return parse_port_range(text)
    except InvalidParameterError:
        raise InvalidParameterError(f"invalid hostPort: {text}") from None


def long_to_short(text: str) -> str:
    """Return ``published=80,target=8080,protocol=udp`` in the short form; that as it is.

    Raises:
        InvalidParameterError: A field is no ``key=value`` or is unknown.
    """
    if "=" not in text:
        return text
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for part in text.split(","):
        key, equals, content = part.partition("=")
        if not equals:
            raise InvalidParameterError(
                f"invalid publish opts format (should be name=value but got '{part}')"
            )
        if key == "mode":
            continue
        if key not in fields:
            raise InvalidParameterError(f"invalid field key in --publish: {key}")
        fields[key] = content
    if not fields["target"]:
        raise InvalidParameterError(f"missing mandatory field 'target' in --publish {text}")
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def check_publish(text: str) -> None:
    """Refuse a bad ``-p`` value.

    Raises:
        InvalidParameterError: It is malformed.
    """
    parse_port_spec(long_to_short(text))


def parse_expose(text: str) -> list[str]:
    """Return the ports of one ``--expose`` value.

    Raises:
        InvalidParameterError: It is malformed.
    """
    port, _, protocol = text.partition("/")
    try:
        first, last = parse_port_range(port) if port else (_number("", "start"), 0)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"invalid range format for --expose: {error}") from None
    return [f"{number}/{protocol or 'tcp'}" for number in range(first, last + 1)]


def merge(
    publish: Iterable[str], expose: Iterable[str]
) -> tuple[list[str], dict[str, list[Mapping]]]:
    """Return the exposed ports and the bindings by port.

    Raises:
        InvalidParameterError: A value is malformed.
    """
    exposed: dict[str, None] = {}
    bindings: dict[str, list[Mapping]] = {}
    for text in publish:
        for mapping in parse_port_spec(long_to_short(text)):
            exposed[mapping.port] = None
            bindings.setdefault(mapping.port, []).append(mapping)
    for text in expose:
        exposed.update(dict.fromkeys(parse_expose(text)))
    return list(exposed), bindings
