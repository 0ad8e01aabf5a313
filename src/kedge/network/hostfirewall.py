"""What a firewall of somebody else means for published ports.

A packet for a published port is forwarded, not taken in by the host: rules about what the host
itself accepts never see it (ufw, firewalld and most hand-written ones are such). That is Docker's
way and what people rely on, so it is kept; but it is said. The other way round, what another table
drops while it is forwarded, no rule of ours can bring back.

Only nf_tables is read, which iptables-nft is, too.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from kedge.linux import nftables as nft
from kedge.network import names
from kedge.network.kernel import HostKernel

_IP_FAMILIES: Final = {
    nft.NFPROTO_INET: "inet",
    nft.NFPROTO_IPV4: "ip",
    nft.NFPROTO_IPV6: "ip6",
}


def forward_problems(chains: Iterable[nft.BaseChain]) -> list[str]:
    """Return one line for each chain of others that drops what is forwarded."""
    return [
        f"chain {chain.name} of table {chain.table} drops forwarded packets: "
        "containers reach the outside, and published ports are reached from there, "
        "only where it accepts their bridge"
        for chain in _others(chains, nft.NF_INET_FORWARD)
        if chain.policy == nft.NF_DROP
    ]


def publish_warnings(kernel: HostKernel, addresses: Sequence[str]) -> list[str]:
    """Return what whoever publishes ports should know about this host's firewall.

    Args:
        kernel: The host.
        addresses: The host's addresses of the ports; empty for every address.

    Raises:
        NetlinkError: The rules cannot be read.
    """
    if all(_is_loopback(address) for address in addresses):
        return []
    chains = kernel.base_chains()
    warnings = forward_problems(chains)
    refusing = [
        chain
        for chain in _others(chains, nft.NF_INET_LOCAL_IN)
        if chain.policy == nft.NF_DROP or kernel.ends_in_refusal(chain)
    ]
    if refusing:
        first = refusing[0]
        warnings.append(
            "published ports go past this host's firewall: chain "
            f"{first.name} of table {_IP_FAMILIES[first.family]} {first.table} refuses what it "
            "does not know, but it sees only what is for the host itself, and a published port "
            "is forwarded; publish on 127.0.0.1 what only this host shall use"
        )
    return warnings


def _others(chains: Iterable[nft.BaseChain], hook: int) -> list[nft.BaseChain]:
    return [
        chain
        for chain in chains
        if chain.hook == hook
        and chain.family in _IP_FAMILIES
        and not chain.table.startswith(names.TABLE_PREFIX)
    ]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
