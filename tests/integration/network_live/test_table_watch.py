"""The packet filter table comes back by itself when somebody else removes it."""

import select
import subprocess
import time
from pathlib import Path

import pytest

from kedge.linux.nftables_events import open_table_events, removed_tables
from kedge.network import names
from kedge.network.model import PortBinding
from tests.integration.network_live.lab import TIMEOUT_S, Host, ask, host, own_network

pytestmark = pytest.mark.integration
_WEB = PortBinding(protocol="tcp", container_port=80, host_port=8080)
_DNS = PortBinding(protocol="udp", container_port=53, host_port=8053)


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def wait_for_table(machine: Host) -> None:
    table = names.table_name(machine.data_root)
    deadline = time.monotonic() + TIMEOUT_S
    while table not in nft("list", "tables"):
        assert time.monotonic() < deadline, "the table did not come back"
        time.sleep(0.005)


@own_network
def test_a_flushed_ruleset_comes_back_by_itself(tmp_path: Path) -> None:
    with host(tmp_path) as machine:
        machine.run("web", _WEB)
        machine.serve("web", 80)
        before = ask("127.0.0.1", 8080)
        rules = nft("list", "ruleset")
        for _round in range(3):
            nft("flush", "ruleset")
            wait_for_table(machine)
            assert nft("list", "ruleset") == rules
            assert ask("127.0.0.1", 8080) == before
        machine.crash()
        machine.controller.restore([machine.id("web")])
        nft("delete", "table", "inet", names.table_name(machine.data_root))
        wait_for_table(machine)
        assert ask("127.0.0.1", 8080) == before


@own_network
def test_the_watch_sleeps_while_ports_are_published(tmp_path: Path) -> None:
    with host(tmp_path) as machine, open_table_events() as events:
        machine.run("web", _WEB)
        assert removed_tables(events) is not None
        machine.run("dns", _DNS)
        machine.controller.remove_endpoint(machine.id("dns"))
        assert select.select([events], [], [], 0)[0] == []
        nft("add", "table", "inet", "theirs")
        nft("delete", "table", "inet", "theirs")
        assert removed_tables(events) == {"theirs"}
