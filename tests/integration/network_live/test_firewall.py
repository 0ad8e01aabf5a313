"""nft(8) reads back what the codec wrote."""

import dataclasses
import ipaddress
import json
import os
import shutil
import subprocess

import pytest

from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import nftables as nft
from kedge.linux.netlink import NetlinkError
from kedge.network import firewall
from tests.integration.network_live.lab import own_network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft(8)"),
]

TABLE = "kedge-test"
BRIDGES = [
    firewall.BridgeRule(
        bridge="kedge0",
        subnets=(ipaddress.ip_network("172.17.0.0/16"), ipaddress.ip_network("fd00:1::/64")),
    ),
    firewall.BridgeRule(
        bridge="br-other",
        subnets=(ipaddress.ip_network("172.18.0.0/16"),),
        hosts=(ipaddress.ip_address("172.18.0.1"), ipaddress.ip_address("fd00:2::1")),
        is_internal=True,
    ),
]


def port(
    host_address: str, host_port: int, target: str, protocol: str = "tcp"
) -> firewall.PortRule:
    return firewall.PortRule(
        protocol=protocol,
        host_address=ipaddress.ip_address(host_address),
        host_port=host_port,
        target=ipaddress.ip_address(target),
        target_port=80,
    )


PORTS = [
    port("0.0.0.0", 8080, "172.17.0.2"),
    port("127.0.0.1", 8081, "172.17.0.2", "udp"),
    port("::", 8080, "fd00:1::2"),
    port("2001:db8::1", 8082, "fd00:1::2"),
]

_TO_PORT = "ip daddr . meta l4proto . th dport"
RULES = {
    "raw": [
        "iifname @bridges goto bridged",
        f'ip daddr 127.0.0.0/8 iifname != "lo" {_TO_PORT} @loopback_ports4 drop',
    ],
    "bridged": ["ip daddr 127.0.0.0/8 drop", "fib saddr type local drop"],
    "prerouting": ["ip daddr 127.0.0.0/8 return", "fib daddr type local jump publish"],
    "output": ["fib daddr type local jump publish"],
    "publish": [
        "ip6 saddr fe80::/10 return",
        "ip6 daddr ::1 return",
        "dnat ip to ip daddr . meta l4proto . th dport map @address_ports4",
        "dnat ip6 to ip6 daddr . meta l4proto . th dport map @address_ports6",
        "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports4",
        "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @ports6",
    ],
    "input": [
        "ct state established,related accept",
        "iifname != @internal accept",
        "iifname . ip daddr @internal_hosts4 accept",
        "iifname . ip6 daddr @internal_hosts6 accept",
        "icmpv6 type 135-136 accept",
        "drop",
    ],
    "forward": [
        "ct state established,related accept",
        "iifname @bridges goto guard",
        "oifname @bridges goto guard",
    ],
    "guard": [
        "iifname . oifname @same_bridge accept",
        "iifname @internal drop",
        "oifname @internal drop",
        "ct status dnat accept",
        "ip daddr . meta l4proto . th dport @open4 accept",
        "ip6 daddr . meta l4proto . th dport @open6 accept",
        f"iifname . oifname @trusted {_TO_PORT} @direct4 accept",
        "iifname . oifname @trusted ip6 daddr . meta l4proto . th dport @direct6 accept",
        "meta l4proto icmp oifname . meta nfproto @routed accept",
        "meta l4proto ipv6-icmp oifname . meta nfproto @routed accept",
        "oifname . meta nfproto @unprotected accept",
        "oifname @bridges drop",
        "accept",
    ],
    "postrouting": [
        'oifname "lo" return',
        "iifname @bridges oifname @bridges iifname . oifname != @same_bridge return",
        "oifname @bridges ip saddr 127.0.0.0/8 masquerade",
        "oifname @bridges ct status dnat ip saddr @subnets4 masquerade",
        "oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade",
        "oifname != @bridges snat ip to ip saddr map @sources4",
        "oifname != @bridges snat ip6 to ip6 saddr map @sources6",
        "oifname != @bridges ip saddr @subnets4 masquerade",
        "oifname != @bridges ip6 saddr @subnets6 masquerade",
    ],
}


def listing(*arguments: str) -> str:
    return subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True).stdout


def chain_rules(chain: str) -> list[str]:
    lines = [line.strip() for line in listing("list", "chain", "inet", TABLE, chain).splitlines()]
    return [line for line in lines[2:-2] if not line.startswith("type ")]


def elements(name: str) -> list[Json]:
    is_map = name.startswith(("ports", "address_ports", "sources"))
    kind = "map" if is_map else "set"
    document: JsonObject = json.loads(listing("-j", "list", kind, "inet", TABLE, name))
    found = document["nftables"]
    assert isinstance(found, list)
    body = found[1]
    assert isinstance(body, dict)
    described = body[kind]
    assert isinstance(described, dict)
    items = described.get("elem", [])
    assert isinstance(items, list)
    return items


@own_network
def test_nft_reads_the_rules_as_they_were_meant() -> None:
    with nft.NftablesSocket() as kernel:
        kernel.commit(firewall.whole_table(TABLE, BRIDGES, PORTS))
    for chain, rules in RULES.items():
        assert chain_rules(chain) == rules
    assert sorted(map(str, elements("bridges"))) == ["br-other", "kedge0"]
    assert elements("internal") == ["br-other"]
    assert elements("internal_hosts4") == [{"concat": ["br-other", "172.18.0.1"]}]
    assert elements("internal_hosts6") == [{"concat": ["br-other", "fd00:2::1"]}]
    assert elements("loopback_ports4") == [{"concat": ["127.0.0.1", "udp", 8081]}]
    assert elements("subnets4") == [{"prefix": {"addr": "172.17.0.0", "len": 16}}]
    assert elements("subnets6") == [{"prefix": {"addr": "fd00:1::", "len": 64}}]
    assert elements("ports4") == [
        [{"concat": ["tcp", 8080]}, {"concat": ["172.17.0.2", 80]}],
    ]
    assert elements("address_ports4") == [
        [{"concat": ["127.0.0.1", "udp", 8081]}, {"concat": ["172.17.0.2", 80]}],
    ]
    assert elements("ports6") == [[{"concat": ["tcp", 8080]}, {"concat": ["fd00:1::2", 80]}]]
    assert elements("address_ports6") == [
        [{"concat": ["2001:db8::1", "tcp", 8082]}, {"concat": ["fd00:1::2", 80]}],
    ]


@own_network
def test_an_own_source_and_trusted_links_are_of_their_network() -> None:
    bridge = firewall.BridgeRule(
        bridge="br-third",
        subnets=(ipaddress.ip_network("172.19.0.0/24"), ipaddress.ip_network("fd00:3::/64")),
        sources=(ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")),
        trusted=("lan0", "lan1"),
    )
    ports = [
        dataclasses.replace(port("0.0.0.0", number, "172.19.0.2"), is_direct=True)
        for number in (8083, 8084)
    ]
    with nft.NftablesSocket() as kernel:
        kernel.commit(firewall.whole_table(TABLE, BRIDGES, PORTS))
        before = listing("list", "ruleset")
        kernel.commit(firewall.add_bridge(TABLE, bridge) + firewall.add_ports(TABLE, ports))
        assert elements("sources4") == [
            [{"prefix": {"addr": "172.19.0.0", "len": 24}}, "192.0.2.7"]
        ]
        assert elements("sources6") == [
            [{"prefix": {"addr": "fd00:3::", "len": 64}}, "2001:db8::7"]
        ]
        trusted = [{"concat": [link, "br-third"]} for link in ("lan0", "lan1")]
        assert sorted(elements("trusted"), key=str) == trusted
        assert elements("direct4") == [{"concat": ["172.19.0.2", "tcp", 80]}]
        kernel.commit(firewall.remove_ports(TABLE, ports) + firewall.remove_bridge(TABLE, bridge))
        assert listing("list", "ruleset") == before


@own_network
def test_what_is_added_can_be_removed() -> None:
    with nft.NftablesSocket() as kernel:
        kernel.commit(firewall.whole_table(TABLE, [], []))
        empty = listing("list", "ruleset")
        for bridge in BRIDGES:
            kernel.commit(firewall.add_bridge(TABLE, bridge))
        kernel.commit(firewall.add_ports(TABLE, PORTS))
        assert listing("list", "ruleset") != empty
        kernel.commit(firewall.remove_ports(TABLE, PORTS))
        for bridge in BRIDGES:
            kernel.commit(firewall.remove_bridge(TABLE, bridge))
        assert listing("list", "ruleset") == empty
        for _ in range(2):
            kernel.commit(firewall.remove_table(TABLE))
            assert listing("list", "ruleset") == ""


@own_network
def test_a_transaction_happens_whole_or_not_at_all() -> None:
    with nft.NftablesSocket() as kernel:
        kernel.commit(firewall.whole_table(TABLE, BRIDGES, PORTS))
        before = listing("list", "ruleset")
        absent = port("0.0.0.0", 9999, "172.17.0.2")
        new = port("0.0.0.0", 9000, "172.17.0.2")
        with pytest.raises(NetlinkError, match=f"remove from set {TABLE} ports4: no such file"):
            kernel.commit(firewall.add_ports(TABLE, [new]) + firewall.remove_ports(TABLE, [absent]))
        assert listing("list", "ruleset") == before
        # The socket is still in step with the kernel.
        kernel.commit(firewall.add_ports(TABLE, [new]))
        assert "9000" in listing("list", "ruleset")


@own_network
def test_a_thousand_ports_in_one_transaction() -> None:
    many = [port("0.0.0.0", 10000 + n, "172.17.0.2") for n in range(1000)]
    with nft.NftablesSocket() as kernel:
        kernel.commit(firewall.whole_table(TABLE, BRIDGES, many))
        assert len(elements("ports4")) == 1000
        dump = kernel.query(nft.list_elements(nft.Table(TABLE), "ports4"))
        assert sum(len(nft.parse_elements(message)) for message in dump) == 1000


@own_network
def test_base_chains_of_everybody_are_seen() -> None:
    theirs = "table ip t {\n chain c {\n type filter hook forward priority 5; policy drop;\n }\n}\n"
    subprocess.run(["nft", "-f", "-"], input=theirs, text=True, check=True)
    with nft.NftablesSocket() as kernel:
        found = [nft.try_parse_base_chain(message) for message in kernel.query(nft.list_chains())]
        tables = [nft.parse_table(message) for message in kernel.query(nft.list_tables())]
    assert found == [nft.BaseChain(nft.NFPROTO_IPV4, "t", "c", nft.NF_INET_FORWARD, 5, nft.NF_DROP)]
    assert tables == [(nft.NFPROTO_IPV4, "t")]
