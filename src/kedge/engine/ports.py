"""Ports in Docker's spelling (``80/tcp``) and which of them a container publishes. Pure."""

from typing import NamedTuple

from kedge.api.types.config import ContainerConfig, HostConfig, PortBinding
from kedge.errdefs import InvalidParameterError


class Port(NamedTuple):
    """A container's port."""

    number: int
    protocol: str

    def __str__(self) -> str:
        """Return Docker's spelling."""
        return f"{self.number}/{self.protocol}"


def parse_port(text: str) -> Port:
    """Return the port in ``text``, such as ``80`` or ``53/udp``.

    Raises:
        InvalidParameterError: No port, or another protocol than tcp, udp and sctp.
    """
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if not number.isdigit() or not 0 < int(number) < 65536:
        raise InvalidParameterError(f"invalid port specification: {text!r}: want 1-65535")
    if protocol not in {"tcp", "udp", "sctp"}:
        raise InvalidParameterError(f"invalid port specification: {text!r}: unknown protocol")
    return Port(int(number), protocol)


def published_ports(config: ContainerConfig, host: HostConfig) -> list[tuple[Port, PortBinding]]:
    """Return each published port with its wish for an address on the host.

    Args:
        config: Its exposed ports are published, too, with ``PublishAllPorts``.
        host: The bindings asked for.

    Raises:
        InvalidParameterError: A malformed port.
    """
    wanted: list[tuple[Port, PortBinding]] = []
    for text, bindings in host.port_bindings.items():
        port = parse_port(text)
        for binding in bindings or [PortBinding()]:
            _check_host_port(binding.host_port)
            wanted.append((port, binding))
    if host.publish_all_ports:
        taken = {port for port, _ in wanted}
        exposed = [parse_port(text) for text in config.exposed_ports]
        wanted.extend((port, PortBinding()) for port in exposed if port not in taken)
    return wanted


def _check_host_port(text: str) -> None:
    for part in text.split("-") if text else ():
        if not part.isdigit() or int(part) > 65535:
            raise InvalidParameterError(f"invalid port specification: {text!r}: want 0-65535")
