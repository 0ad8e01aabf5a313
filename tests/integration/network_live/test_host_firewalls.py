"""What is said about firewalls of others, and what they do to a published port."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kedge.network.model import PortBinding
from tests.integration.network_live.lab import Outside, ask, host, is_reachable, own_network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft(8)"),
]

WEB = PortBinding(protocol="tcp", container_port=80, host_port=8080)
LOCAL = ["127.0.0.1", "::1"]

BY_POLICY = """table ip filter { chain INPUT {
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
}
}"""
BY_LAST_RULE = """table inet firewalld { chain filter_INPUT {
    type filter hook input priority 10; policy accept;
    ct state established,related accept
    iifname "lo" accept
    log prefix "refused "
    counter reject with icmpx admin-prohibited
}
}"""
OPEN = """table inet mine { chain in {
    type filter hook input priority 0; policy accept;
    tcp dport 23 drop
}
}"""
FORWARD = """table ip filter { chain FORWARD {
    type filter hook forward priority 0; policy drop;
}
}"""


def load(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (BY_POLICY, "chain INPUT of table ip filter"),
        (BY_LAST_RULE, "chain filter_INPUT of table inet firewalld"),
    ],
)
def test_publishing_past_a_firewall_is_said_and_works(
    tmp_path: Path, rules: str, said: str
) -> None:
    @own_network
    def play() -> None:
        outside = Outside()
        load(rules)
        with host(tmp_path) as machine:
            for addresses in ([""], ["0.0.0.0"], ["127.0.0.1", outside.HOST4]):
                (warning,) = machine.controller.publish_warnings(addresses)
                assert warning.startswith("published ports go past this host's firewall: ")
                assert said in warning
            assert machine.controller.publish_warnings(LOCAL) == []
            machine.run("web", WEB)
            machine.serve("web", 80)
            # What the warning says is so.
            assert outside.run(lambda: ask(outside.HOST4, 8080)) == outside.ADDRESS4
            assert not outside.run(lambda: is_reachable(outside.HOST4, 22))
        outside.close()

    play()


@own_network
def test_a_firewall_that_refuses_nothing_is_not_mentioned(tmp_path: Path) -> None:
    load(OPEN)
    with host(tmp_path) as machine:
        machine.run("web", WEB)
        assert machine.controller.publish_warnings([""]) == []


@own_network
def test_what_drops_forwarded_packets_is_honoured_and_said(tmp_path: Path) -> None:
    outside = Outside()
    load(FORWARD)
    with host(tmp_path) as machine:
        (warning,) = machine.controller.publish_warnings([""])
        assert warning.startswith("chain FORWARD of table filter drops forwarded packets: ")
        machine.run("web", WEB)
        machine.serve("web", 80)
        assert not outside.run(lambda: is_reachable(outside.HOST4, 8080))
        # The host itself is no forwarder.
        assert ask("127.0.0.1", 8080)
    outside.close()


@own_network
@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="needs iptables-nft")
def test_rules_of_iptables_are_read_as_well(tmp_path: Path) -> None:
    for words in ("-A INPUT -i lo -j ACCEPT", "-A INPUT -j REJECT"):
        subprocess.run(["iptables-nft", *words.split()], check=True)
    with host(tmp_path) as machine:
        (warning,) = machine.controller.publish_warnings([""])
        assert "chain INPUT of table ip filter refuses" in warning
        subprocess.run(["iptables-nft", "-A", "INPUT", "-j", "ACCEPT"], check=True)
        assert machine.controller.publish_warnings([""]) == []
