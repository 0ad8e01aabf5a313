"""What the embedded name server says of its own accord. Pure.

A name of a container is answered here and never asked elsewhere, also for a type it has no record
of: a client that asks for AAAA of a container without IPv6 must learn at once that there is none.
"""

import socket
from typing import Final

from kedge.network.dns import wire
from kedge.network.dns.names import Member, NameTable
from kedge.network.dns.wire import Query, Record

TTL_S: Final = 0
"""A container may come back with another address at any moment, and asking again costs nothing."""


def try_answer(names: NameTable, asker: str, query: Query) -> list[Record] | None:
    """Return the records for a question about containers, None when it is about anything else.

    Args:
        names: All names of the engine.
        asker: Id of the container that asks.
        query: Its question.
    """
    if query.klass != wire.CLASS_IN:
        return None
    if query.type == wire.TYPE_PTR:
        found = names.find_address(asker, query.name)
        if not found:
            return None
        return [Record(wire.TYPE_PTR, TTL_S, wire.encode_name(found))]
    if query.type == wire.TYPE_SRV:
        return _service(names, asker, query.name)
    members = names.find(asker, query.name)
    if not members:
        return None
    return [record for member in members for record in _addresses(member, query.type)]


def _addresses(member: Member, kind: int) -> list[Record]:
    wanted = {wire.TYPE_A: {4}, wire.TYPE_AAAA: {6}, wire.TYPE_ANY: {4, 6}}.get(kind, set())
    return [
        Record(wire.TYPE_A if address.version == 4 else wire.TYPE_AAAA, TTL_S, address.packed)
        for address in member.addresses
        if address.version in wanted
    ]


def _service(names: NameTable, asker: str, name: str) -> list[Record] | None:
    """Answer ``_http._tcp.web`` or ``_8080._tcp.web`` for a port the container exposes."""
    service, _, rest = name.partition(".")
    protocol, _, owner = rest.partition(".")
    if not service.startswith("_") or protocol not in {"_tcp", "_udp"} or not owner:
        return None
    members = names.find(asker, owner)
    if not members:
        return None
    number = _port_number(service[1:], protocol[1:])
    return [
        Record(wire.TYPE_SRV, TTL_S, wire.encode_srv(number, member.names[0]))
        for member in members
        if (protocol[1:], number) in member.ports
    ]


def _port_number(service: str, protocol: str) -> int:
    if service.isdigit():
        return int(service) if len(service) < 6 else -1
    try:
        return socket.getservbyname(service, protocol)
    except OSError:
        return -1
