from pathlib import Path

import pytest

from kedge.errdefs import SystemFailureError
from kedge.network import sysctls


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in (
        ("ipv4/ip_forward", "0"),
        ("ipv6/conf/all/forwarding", "0"),
        ("ipv6/conf/all/disable_ipv6", "0"),
        ("ipv6/conf/default/disable_ipv6", "0"),
        ("ipv6/conf/eth0/accept_ra", "1"),
        ("ipv6/conf/eth1/accept_ra", "1"),
        ("ipv6/conf/wlan0/accept_ra", "0"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return tmp_path


def test_a_switch_is_written_only_when_it_differs(root: Path) -> None:
    assert sysctls.ensure_forwarding4(root=str(root)) == ["ipv4/ip_forward"]
    assert (root / "ipv4/ip_forward").read_text() == "1"
    (root / "ipv4/ip_forward").chmod(0o444)
    assert sysctls.ensure_forwarding4(root=str(root)) == []


def test_a_host_keeps_the_routes_it_learned(root: Path) -> None:
    changed = sysctls.ensure_forwarding6({"eth0", "wlan0"}, root=str(root))
    assert changed == ["ipv6/conf/eth0/accept_ra", "ipv6/conf/all/forwarding"]
    assert (root / "ipv6/conf/eth0/accept_ra").read_text() == "2"
    assert (root / "ipv6/conf/eth1/accept_ra").read_text() == "1\n"
    assert sysctls.ensure_forwarding6({"eth0"}, root=str(root)) == []


def test_a_refusal_says_what_to_do(root: Path) -> None:
    with pytest.raises(SystemFailureError) as caught:
        sysctls.ensure("ipv4/conf/missing/route_localnet", "1", root=str(root))
    assert str(caught.value) == (
        "cannot set net.ipv4.conf.missing.route_localnet to 1: no such file or directory; "
        "run: sysctl -w net.ipv4.conf.missing.route_localnet=1"
    )


def test_ipv6_is_there_unless_it_is_disabled_or_missing(root: Path) -> None:
    assert sysctls.has_ipv6(root=str(root))
    (root / "ipv6/conf/default/disable_ipv6").write_text("1\n")
    assert not sysctls.has_ipv6(root=str(root))
    assert not sysctls.has_ipv6(root=str(root / "nowhere"))
    assert sysctls.try_read("nowhere", root=str(root)) is None
