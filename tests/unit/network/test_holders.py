import ipaddress
import os
from pathlib import Path

import pytest

from kedge.network.holders import Holder, find_holder, parse_socket_table

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when uid timeout inode\n"
TCP = (
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "4711 1 0000000000000000 100 0 0 10 0\n"
    "   1: 020200C0:1F91 020200C0:C350 01 00000000:00000000 00:00000000 00000000     0        0 "
    "4712 1 0000000000000000 100 0 0 10 0\n"
)
TCP6 = (
    "   0: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0\n"
    "   1: 000080FE00000000FF0011FE010000FE:1F93 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0 0 10 0\n"
)


@pytest.fixture
def proc(tmp_path: Path) -> str:
    net = tmp_path / "thread-self" / "net"
    net.mkdir(parents=True)
    (net / "tcp").write_text(HEAD + TCP)
    (net / "tcp6").write_text(HEAD + TCP6)
    for pid, command, inode in ((300, "python3", 4711), (20, "nginx", 4713), (7, "init", 9)):
        descriptors = tmp_path / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        os.symlink("/dev/null", descriptors / "0")
        os.symlink(f"socket:[{inode}]", descriptors / "5")
        (tmp_path / str(pid) / "comm").write_text(command + "\n")
    return str(tmp_path)


def test_addresses_are_in_the_machines_byte_order() -> None:
    first, second = parse_socket_table(HEAD + TCP)
    assert (str(first.address), first.port, first.state, first.inode) == (
        "127.0.0.1",
        8080,
        "0A",
        4711,
    )
    assert str(second.address) == "192.0.2.2"
    wide = list(parse_socket_table(HEAD + TCP6))
    assert [str(item.address) for item in wide] == ["::", "fe80::fe11:ff:fe00:1"]


@pytest.mark.parametrize(
    ("address", "port", "holder"),
    [
        ("127.0.0.1", 8080, Holder(pid=300, command="python3")),
        ("0.0.0.0", 8080, Holder(pid=300, command="python3")),
        ("192.0.2.2", 8080, None),
        ("::", 8080, None),
        # A connection is no listener.
        ("0.0.0.0", 8081, None),
        # A socket on :: may hold the IPv4 port too.
        ("0.0.0.0", 8082, Holder(pid=20, command="nginx")),
        ("::1", 8082, Holder(pid=20, command="nginx")),
        # Its process cannot be seen.
        ("::", 8083, None),
        ("0.0.0.0", 9999, None),
    ],
)
def test_the_holder_is_found(proc: str, address: str, port: int, holder: Holder | None) -> None:
    assert find_holder("tcp", ipaddress.ip_address(address), port, proc=proc) == holder


def test_a_holder_reads_well(proc: str) -> None:
    assert str(find_holder("tcp", ipaddress.ip_address("127.0.0.1"), 8080, proc=proc)) == (
        "pid 300 (python3)"
    )
    assert find_holder("udp", ipaddress.ip_address("127.0.0.1"), 8080, proc=proc) is None
