"""Port 53 of the name server's address, translated to the port its sockets have.

In the container's own namespace, because a program in there may want port 53 on every address for
itself: with a plain bind to 127.0.0.11:53 it could not have it. Pure.
"""

import socket
from typing import Final

from kedge.linux import nftables as nft
from kedge.linux import nftables_expressions as ex
from kedge.linux.netlink import Request
from kedge.shim.namesockets import NAME_SERVER

PORT: Final = 53
_TABLE: Final = nft.Table("kedge-dns")
_DESTINATION_OFFSET: Final = 16
_PORT_OFFSET: Final = 2
_TCP: Final = 6
_UDP: Final = 17


def redirect_requests(udp_port: int, tcp_port: int) -> list[Request]:
    """Return the transaction that makes the redirection, in place of any earlier one.

    Args:
        udp_port: Where the UDP socket is bound.
        tcp_port: Where the TCP socket listens.
    """
    hook = nft.Hook("nat", nft.NF_INET_LOCAL_OUT, nft.PRIORITY_DSTNAT)
    return [
        nft.new_table(_TABLE),
        nft.delete_table(_TABLE),
        nft.new_table(_TABLE),
        nft.new_chain(_TABLE, "output", hook),
        nft.add_rule(_TABLE, "output", _rule(_UDP, udp_port)),
        nft.add_rule(_TABLE, "output", _rule(_TCP, tcp_port)),
    ]


def _rule(protocol: int, port: int) -> bytes:
    address = socket.inet_aton(NAME_SERVER)
    return (
        ex.family_is(nft.NFPROTO_IPV4)
        + ex.payload(ex.PAYLOAD_NETWORK, _DESTINATION_OFFSET, len(address))
        + ex.compare(address)
        + ex.meta(ex.META_L4PROTO)
        + ex.compare(bytes([protocol]))
        + ex.payload(ex.PAYLOAD_TRANSPORT, _PORT_OFFSET, 2)
        + ex.compare(PORT.to_bytes(2, "big"))
        + ex.immediate(address, ex.REG_1)
        + ex.immediate(port.to_bytes(2, "big"), ex.REG32_01)
        + ex.destination_nat(nft.NFPROTO_IPV4)
    )
