"""Connection tracking: finding and forgetting flows, as netlink requests.

Vocabulary of ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``. A flow is known by its
original tuple; its reply tuple shows where address translation has sent it. Everything here is
pure but `forget_flows`. Which flows are stale is the caller's to know.
"""

import errno
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from kedge.linux.netlink import (
    NLM_F_DUMP,
    Message,
    NetlinkError,
    NetlinkSocket,
    Request,
    attribute,
    attribute_u8,
    attribute_u32,
    nested,
    parse_attributes,
)

_SUBSYSTEM: Final = 1
_GET: Final = 1
_DELETE: Final = 2
_TUPLE_ORIGINAL: Final = 1
_TUPLE_REPLY: Final = 2
_ZONE: Final = 18
_FILTER: Final = 25
_TUPLE_IP: Final = 1
_TUPLE_PROTOCOL: Final = 2
_SOURCE: Final[dict[int, int]] = {socket.AF_INET: 1, socket.AF_INET6: 3}
_PROTOCOL_NUMBER: Final = 1
_PROTOCOL_TARGET_PORT: Final = 3
_FILTER_SOURCE: Final = 1 << 0
_FILTER_PROTOCOL: Final = 1 << 3
_FILTER_TARGET_PORT: Final = 1 << 5

_NFGENMSG: Final = struct.Struct(">BBH")


class Flows(NamedTuple):
    """Which flows are meant: those from an address, to it by translation, or for a port."""

    family: int
    source: bytes = b""
    """Sender of the original tuple, or with ``is_reply`` of the reply: who answers."""
    is_reply: bool = False
    protocol: int = 0
    target_port: int = 0
    """Of the original tuple; with ``protocol``."""


def list_flows(flows: Flows) -> Request:
    """Ask for flows; kernels before 5.8 answer with all, so look at each with `is_one_of`."""
    if not flows.source and not flows.protocol:
        body = _NFGENMSG.pack(flows.family, 0, 0)
        return Request((_SUBSYSTEM << 8) | _GET, NLM_F_DUMP, body, "list flows")
    parts: list[bytes] = []
    flags = 0
    if flows.source:
        flags |= _FILTER_SOURCE
        parts.append(nested(_TUPLE_IP, attribute(_SOURCE[flows.family], flows.source)))
    if flows.protocol:
        flags |= _FILTER_PROTOCOL | _FILTER_TARGET_PORT
        parts.append(
            nested(
                _TUPLE_PROTOCOL,
                attribute_u8(_PROTOCOL_NUMBER, flows.protocol),
                attribute(_PROTOCOL_TARGET_PORT, flows.target_port.to_bytes(2, "big")),
            )
        )
    side = _side(flows)
    body = _NFGENMSG.pack(flows.family, 0, 0) + nested(side, *parts)
    body += nested(_FILTER, attribute_u32(side, flags))
    return Request((_SUBSYSTEM << 8) | _GET, NLM_F_DUMP, body, "list flows")


def is_one_of(message: Message, flows: Flows) -> bool:
    """Tell whether a flow of a dump is among those meant."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    found = parse_attributes(values.get(_side(flows), b""))
    if flows.source:
        place = parse_attributes(found.get(_TUPLE_IP, b""))
        if place.get(_SOURCE[flows.family]) != flows.source:
            return False
    if flows.protocol:
        protocol = parse_attributes(found.get(_TUPLE_PROTOCOL, b""))
        return protocol.get(_PROTOCOL_NUMBER) == bytes([flows.protocol]) and protocol.get(
            _PROTOCOL_TARGET_PORT
        ) == flows.target_port.to_bytes(2, "big")
    return True


def delete_flow(message: Message) -> Request:
    """Forget the flow a dump's message tells of."""
    values = parse_attributes(message.body[_NFGENMSG.size :])
    body = _NFGENMSG.pack(message.body[0], 0, 0)
    body += nested(_TUPLE_ORIGINAL, values.get(_TUPLE_ORIGINAL, b""))
    if _ZONE in values:
        body += attribute(_ZONE, values[_ZONE])
    return Request((_SUBSYSTEM << 8) | _DELETE, 0, body, "forget a flow")


def forget_flows(route: NetlinkSocket, wanted: Sequence[Flows], *, at_once: bool) -> int:
    """Forget flows; the next packet of each is looked at anew. Return how many there were.

    Args:
        route: A netfilter socket of the namespace.
        wanted: Which ones.
        at_once: Ask for all there are once, instead of once for each of ``wanted``; better where
            there are few.

    Raises:
        NetlinkError: The kernel refused, or has no connection tracking.
    """
    if at_once:
        found = [
            message
            for message in route.query(list_flows(Flows(socket.AF_UNSPEC)))
            if any(is_one_of(message, flows) for flows in wanted if flows.family == message.body[0])
        ]
    else:
        found = [
            message
            for flows in wanted
            for message in route.query(list_flows(flows))
            if is_one_of(message, flows)
        ]
    for message in found:
        try:
            route.batch([delete_flow(message)])
        except NetlinkError as error:
            # It ended by itself meanwhile, or is in two of the lists.
            if error.errno != errno.ENOENT:
                raise
    return len(found)


def _side(flows: Flows) -> int:
    return _TUPLE_REPLY if flows.is_reply else _TUPLE_ORIGINAL
