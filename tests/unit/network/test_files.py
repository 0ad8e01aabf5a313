from pathlib import Path

import pytest

from kedge.network.files import (
    FALLBACK_NAMESERVERS,
    changed_hosts,
    host_hosts,
    hosts,
    make_resolv_conf,
)

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n"
UPSTREAM = "nameserver 10.1.1.1\nnameserver fe80::1%eth0\n"


def test_hosts_is_dockers() -> None:
    text = hosts("web", "", ["172.17.0.2", "fd00::2"], [("db", "10.0.0.9")])
    assert text == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "172.17.0.2\tweb\n"
        "fd00::2\tweb\n"
    )


def test_hosts_with_a_domain_and_without_addresses() -> None:
    assert "172.17.0.2\tweb.shop.example web\n" in hosts("web", "shop.example", ["172.17.0.2"])
    assert hosts("web", "", []).endswith("ip6-allrouters\n")


def test_the_hosts_own_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 vm")
    assert host_hosts([("db", "10.0.0.9")], path=str(path)) == "127.0.0.1 vm\n10.0.0.9\tdb\n"
    assert host_hosts(path=str(tmp_path / "missing")) == ""


@pytest.mark.parametrize(
    ("host", "upstream", "servers"),
    [
        ("nameserver 10.2.2.2\n", UPSTREAM, ["10.2.2.2"]),
        (STUB, UPSTREAM, ["10.1.1.1"]),
        (STUB, "", list(FALLBACK_NAMESERVERS)),
        ("", "", list(FALLBACK_NAMESERVERS)),
        ("nameserver ::1\nnameserver 10.3.3.3\n", "", ["10.3.3.3"]),
        ("nameserver\t10.4.4.4 # main\n# nameserver 10.5.5.5\n", "", ["10.4.4.4"]),
        ("nameserver fe80::1%eth0\nnameserver 2001:db8::53\n", "", ["2001:db8::53"]),
        ("nameserver nonsense\n", "", list(FALLBACK_NAMESERVERS)),
    ],
)
def test_name_servers_a_container_can_reach(host: str, upstream: str, servers: list[str]) -> None:
    lines = make_resolv_conf(host, upstream).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("nameserver")] == servers


def test_search_and_options_are_kept() -> None:
    assert make_resolv_conf(STUB, UPSTREAM) == (
        "nameserver 10.1.1.1\nsearch corp.example\noptions edns0 trust-ad\n"
    )


def test_what_is_given_replaces_what_the_host_has() -> None:
    text = make_resolv_conf(
        STUB, UPSTREAM, dns=["127.0.0.1"], search=["a.example", "b.example"], options=["ndots:2"]
    )
    assert text == "nameserver 127.0.0.1\nsearch a.example b.example\noptions ndots:2\n"
    assert "search" not in make_resolv_conf(STUB, UPSTREAM, search=["."])


def test_the_last_search_line_counts() -> None:
    text = "search a.example\nnameserver 10.1.1.1\ndomain b.example\n"
    assert "search b.example\n" in make_resolv_conf(text, "")


def test_ipv6_servers_need_ipv6() -> None:
    text = "nameserver 2001:db8::53\nnameserver 10.1.1.1\n"
    assert make_resolv_conf(text, "", has_ipv6=False) == "nameserver 10.1.1.1\n"


def test_the_hosts_network_uses_the_hosts_file() -> None:
    assert make_resolv_conf(STUB, UPSTREAM, own_namespace=False) == STUB
    text = make_resolv_conf(STUB, UPSTREAM, own_namespace=False, search=["x.example"])
    assert text == "nameserver 127.0.0.53\nsearch x.example\noptions edns0 trust-ad\n"


def test_only_the_containers_own_lines_change() -> None:
    before = hosts("web", "lan", ["10.0.0.2", "10.1.0.2"]) + "10.0.0.2\tmine\n"
    after = changed_hosts(before, "web", "lan", add=["10.2.0.2"], remove=["10.0.0.2"])
    assert after == before.replace("10.0.0.2\tweb.lan web\n", "") + "10.2.0.2\tweb.lan web\n"
