"""Drivers and options through the docker CLI: seen from inside, and refused by name."""

from collections.abc import Iterator

import pytest

from tests.engine import DOCKER, Engine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]
_SYSCTL = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"


@pytest.fixture
def host(shared_engine: Engine) -> Iterator[Engine]:
    """The engine, without containers and user-defined networks afterwards."""
    yield shared_engine
    names = shared_engine.docker("ps", "-aq").stdout.split()
    if names:
        shared_engine.docker("rm", "-f", *names)
    shared_engine.docker("network", "prune", "-f")


def test_names_and_switches_of_interfaces(host: Engine) -> None:
    host.docker("network", "create", "-o", "com.docker.network.driver.mtu=1400", "shop")
    name = "com.docker.network.endpoint.ifname=lan7"
    network = f'name=shop,driver-opt={name},"driver-opt={_SYSCTL}",link-local-ip=169.254.7.8'
    host.docker("run", "-d", "--name", "web", "--network", network, "busybox", "sleep", "1000")
    addresses = host.docker("exec", "web", "ip", "addr", "show", "lan7").stdout
    assert "mtu 1400" in addresses
    assert "169.254.7.8/16" in addresses
    path = "/proc/sys/net/ipv4/conf/lan7/log_martians"
    assert host.docker("exec", "web", "cat", path).stdout == "1\n"
    shown = host.docker("inspect", "-f", "{{json .NetworkSettings.Networks.shop}}", "web").stdout
    assert name.partition("=")[0] in shown
    assert "169.254.7.8" in shown
    # The name goes with the container to its next start.
    host.docker("restart", "-t", "0", "web")
    assert "169.254.7.8/16" in host.docker("exec", "web", "ip", "addr", "show", "lan7").stdout


def test_an_ipv6_only_network_has_an_address_the_engine_chose(host: Engine) -> None:
    host.docker("network", "create", "--ipv4=false", "--ipv6", "six")
    host.docker("run", "-d", "--name", "web", "--network", "six", "busybox", "sleep", "1000")
    addresses = host.docker("exec", "web", "ip", "addr", "show", "eth0").stdout
    assert "inet6 fd" in addresses
    assert "inet " not in addresses
    assert "default via fd" in host.docker("exec", "web", "ip", "-6", "route").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "com.docker.network.bridge.enable_ipc=true"), "invalid option com.docker.network"),
        (("-o", "com.docker.network.driver.mtu=big"), "use a number from 68 to 65535"),
        (("-d", "macvlan", "-o", "parent=gone0"), "the host has no such link"),
        (("-d", "macvlan", "-o", "macvlan_mode=x"), "requested macvlan mode 'x' is not valid"),
        (("-d", "ipvlan", "-o", "ipvlan_mode=x"), "requested ipvlan mode 'x' is not valid"),
        (("-d", "macvlan", "-o", "parent=lo"), "loopback interface is not a valid"),
        (("-d", "overlay"), 'plugin "overlay" not found'),
    ],
)
def test_what_a_network_cannot_be(host: Engine, words: tuple[str, ...], said: str) -> None:
    done = host.docker("network", "create", *words, "shop", check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "shop" not in host.docker("network", "ls").stdout
