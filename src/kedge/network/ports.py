"""Claiming host ports: a bound and listening socket per published port, and what a clash says.

The socket keeps every other program of the host off the port while the packet filter carries the
traffic, and it is what the userland proxy accepts from. Texts begin with Docker's own words, which
clients match, and go on with who holds the port and which one is free.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.network.holders import find_holder
from kedge.network.ipam import IPAddress, parse_address
from kedge.network.model import PortBinding

PORT_MAX: Final = 65535
_EPHEMERAL_ATTEMPTS: Final = 64
_FREE_SEARCH: Final = 512
_BACKLOG: Final = 512
_KINDS: Final = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
_EPHEMERAL: Final = range(32768, 61000)
_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EACCES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A host port that is ours for as long as the socket is open."""

    protocol: str
    container_port: int
    host_address: IPAddress
    host_port: int
    socket: socket.socket | None
    """None for SCTP on a host whose kernel has no such sockets, where nothing else can bind one."""

    def close(self) -> None:
        """Give the port up."""
        if self.socket is not None:
            self.socket.close()


class PortInUseError(SystemFailureError):
    """A port cannot be published because somebody has it."""

    def __init__(self, text: str, *, port: int, holder: str, free: int) -> None:
        """Keep the parts of the diagnosis beside the sentence.

        Args:
            text: The whole message.
            port: The port that is taken.
            holder: Who has it, empty when that cannot be seen.
            free: A free port to use instead; 0 when none was found.
        """
        super().__init__(text)
        self.port = port
        self.holder = holder
        self.free = free


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Claims ports for one endpoint; knows how to word a failure."""

    target: str
    """The container's address, for messages."""
    default_address: str = ""
    """Host address of bindings that name none; empty for all addresses."""
    prefix: str = ""
    """What every message about a refused port begins with."""
    own_holder: Callable[[str, IPAddress, int], str]
    """Names the container of this engine that has (protocol, address, port); else empty."""
    versions: frozenset[int] = frozenset({4, 6})
    """The IP versions a binding without an address is for."""

    def claim(self, bindings: Sequence[PortBinding]) -> list[Claim]:
        """Claim every binding's port, or none.

        Raises:
            PortInUseError: A port is taken.
            InvalidParameterError: A port, address or protocol is malformed.
            SystemFailureError: The kernel refuses the address.
        """
        claims: list[Claim] = []
        try:
            for binding in dict.fromkeys(bindings):
                claims += self._claim_one(binding, claims)
        except BaseException:
            for claim in claims:
                claim.close()
            raise
        return claims

    def _claim_one(self, binding: PortBinding, before: Sequence[Claim]) -> list[Claim]:
        _check(binding)
        addresses = _addresses(binding.host_ip or self.default_address, self.versions)
        if binding.protocol == "sctp" and not has_sctp_sockets():
            return self._claim_unbound(binding, addresses, before)
        if not binding.host_port:
            return self._claim_ephemeral(binding, addresses)
        last = max(binding.host_port, binding.host_port_last)
        for port in range(binding.host_port, last + 1):
            try:
                return _bind_all(binding, addresses, port)
            except _BindError as failure:
                if port == last or failure.code not in _TAKEN:
                    raise self._explain(binding, failure) from None
        raise AssertionError("a range has at least one port")

    def _claim_ephemeral(self, binding: PortBinding, addresses: Sequence[IPAddress]) -> list[Claim]:
        for attempt in range(_EPHEMERAL_ATTEMPTS):
            try:
                # The kernel picks the first one's port; the others must get the same.
                return _bind_all(binding, addresses, 0)
            except _BindError as failure:
                if attempt == _EPHEMERAL_ATTEMPTS - 1 or failure.code != errno.EADDRINUSE:
                    raise self._explain(binding, failure) from None
        raise AssertionError("at least one attempt is made")

    def _claim_unbound(
        self, binding: PortBinding, addresses: Sequence[IPAddress], before: Sequence[Claim]
    ) -> list[Claim]:
        """Claim a port that nobody can bind here; only this engine's own may be in the way."""
        taken = {claim.host_port for claim in before if claim.protocol == binding.protocol}
        last = max(binding.host_port, binding.host_port_last)
        wanted = range(binding.host_port, last + 1) if binding.host_port else _EPHEMERAL
        for port in wanted:
            holders = (self.own_holder(binding.protocol, address, port) for address in addresses)
            if port not in taken and not any(holders):
                return [_claim(binding, address, port, None) for address in addresses]
        failure = _BindError(errno.EADDRINUSE, addresses[0], wanted[-1])
        raise self._explain(binding, failure)

    def _explain(self, binding: PortBinding, failure: "_BindError") -> SystemFailureError:
        port, address = failure.port, failure.address
        where = f"[{address}]" if address.version == 6 else str(address)
        own = self.own_holder(binding.protocol, address, port)
        if own:
            text = f"{self.prefix}Bind for {where}:{port} failed: port is already allocated"
        else:
            target = f"[{self.target}]" if ":" in self.target else self.target
            reason = os.strerror(failure.code).lower()
            text = (
                f"{self.prefix}failed to bind host port for {where}:{port}:{target}:"
                f"{binding.container_port}/{binding.protocol}: {reason}"
            )
        if failure.code != errno.EADDRINUSE:
            return SystemFailureError(text)
        holder = f'container "{own}"' if own else str(find_holder(binding.protocol, address, port))
        if holder == "None":
            holder = ""
        free = 0 if binding.protocol == "sctp" else _find_free(binding, address, port)
        text += f"; port {port} is held by {holder or 'another program'}"
        text += f"; free: {free}" if free else ""
        return PortInUseError(text, port=port, holder=holder, free=free)


class _BindError(Exception):
    def __init__(self, code: int, address: IPAddress, port: int) -> None:
        super().__init__(code)
        self.code = code
        self.address = address
        self.port = port


def has_ipv6_sockets() -> bool:
    """Tell whether this kernel can bind IPv6 sockets at all."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def has_sctp_sockets() -> bool:
    """Tell whether this kernel can bind SCTP sockets at all."""
    try:
        socket.socket(socket.AF_INET, *_KINDS["sctp"]).close()
    except OSError:
        return False
    return True


def _check(binding: PortBinding) -> None:
    if binding.protocol not in _KINDS:
        raise InvalidParameterError(f"invalid protocol: {binding.protocol}")
    for port in (binding.host_port, binding.host_port_last):
        if not 0 <= port <= PORT_MAX:
            raise InvalidParameterError(f"invalid host port: {port}")
    if not 0 < binding.container_port <= PORT_MAX:
        raise InvalidParameterError(f"invalid container port: {binding.container_port}")


def _addresses(host_ip: str, versions: Collection[int]) -> list[IPAddress]:
    if host_ip:
        return [parse_address(host_ip)]
    found: list[IPAddress] = [ipaddress.IPv4Address(0)] if 4 in versions else []
    if 6 in versions and has_ipv6_sockets():
        found.append(ipaddress.IPv6Address(0))
    return found


def _claim(
    binding: PortBinding, address: IPAddress, port: int, held: socket.socket | None
) -> Claim:
    return Claim(
        protocol=binding.protocol,
        container_port=binding.container_port,
        host_address=address,
        host_port=port,
        socket=held,
    )


def _bind_all(binding: PortBinding, addresses: Sequence[IPAddress], port: int) -> list[Claim]:
    """Bind one port number on every address, or on none."""
    claims: list[Claim] = []
    try:
        for address in addresses:
            bound = _bind(binding.protocol, address, port)
            port = port or int(bound.getsockname()[1])
            claims.append(_claim(binding, address, port, bound))
    except BaseException:
        for claim in claims:
            claim.close()
        raise
    return claims


def _bind(protocol: str, address: IPAddress, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    bound = socket.socket(family, *_KINDS[protocol])
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol != "udp":
            # Connections that linger in TIME_WAIT are no clash; a listening socket still is,
            # because this one listens at once. UDP has no such state, and there the option
            # would let two programs share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(address), port))
        if protocol != "udp":
            bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _BindError(error.errno or errno.EINVAL, address, port) from None
    return bound


def _find_free(binding: PortBinding, address: IPAddress, taken: int) -> int:
    """Return the next port above ``taken`` that could be bound now; 0 if there is none near."""
    for port in range(taken + 1, min(taken + _FREE_SEARCH, PORT_MAX + 1)):
        try:
            _bind(binding.protocol, address, port).close()
        except _BindError:
            continue
        return port
    return 0
