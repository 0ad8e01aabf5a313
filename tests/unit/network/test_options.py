import pytest

from kedge.errdefs import InvalidParameterError
from kedge.network.model import Driver
from kedge.network.options import ENABLE_IPV6, is_enabled, parse_extras, parse_options

_BRIDGE = "com.docker.network.bridge."


def test_a_network_without_options_has_the_defaults() -> None:
    found = parse_options(Driver.BRIDGE, {})
    assert (found.masquerade, found.is_isolated, found.mtu, found.prefix) == (True, False, 0, "eth")
    assert parse_options(Driver.MACVLAN, {}).mode == "bridge"
    assert parse_options(Driver.IPVLAN, {}).mode == "l2"


def test_what_the_options_of_a_bridge_say() -> None:
    found = parse_options(
        Driver.BRIDGE,
        {
            _BRIDGE + "name": "shop0",
            _BRIDGE + "enable_icc": "false",
            _BRIDGE + "enable_ip_masquerade": "0",
            _BRIDGE + "host_binding_ipv4": "127.0.0.1",
            _BRIDGE + "gateway_mode_ipv6": "isolated",
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.container_iface_prefix": "lan",
        },
    )
    assert (found.bridge, found.host_binding) == ("shop0", "127.0.0.1")
    assert found.is_isolated
    assert not found.masquerade
    assert found.no_gateway == {6}
    assert (found.mtu, found.prefix) == (1400, "lan")
    assert (found.sources, found.trusted) == ((), ())


def test_addresses_of_the_host_and_links_that_are_trusted() -> None:
    found = parse_options(
        Driver.BRIDGE,
        {
            "com.docker.network.host_ipv4": "192.0.2.7",
            "com.docker.network.host_ipv6": "2001:db8::7",
            _BRIDGE + "trusted_host_interfaces": "lan0:wg0:lan0:",
        },
    )
    assert [str(item) for item in found.sources] == ["192.0.2.7", "2001:db8::7"]
    assert found.trusted == ("lan0", "wg0")


@pytest.mark.parametrize(
    ("value", "asked", "default", "expected"),
    [
        ("", None, True, True),
        ("", None, False, False),
        ("true", None, False, True),
        ("0", None, True, False),
        ("true", False, True, False),
        ("false", True, False, True),
    ],
)
def test_a_field_of_the_request_wins_over_the_option(
    value: str,
    asked: bool | None,  # noqa: FBT001
    default: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    options = {ENABLE_IPV6: value} if value else {}
    assert is_enabled(options, ENABLE_IPV6, asked=asked, default=default) is expected


@pytest.mark.parametrize(
    ("driver", "name", "value", "said"),
    [
        ("bridge", "parent", "eth0", "invalid option parent for a bridge network"),
        ("bridge", _BRIDGE + "enable_icc", "maybe", "use true or false"),
        ("bridge", _BRIDGE + "name", "a-name-much-too-long", "at most 15 characters"),
        ("bridge", _BRIDGE + "name", "a/b", "without '/'"),
        ("bridge", _BRIDGE + "host_binding_ipv4", "::1", "IPv4 address"),
        ("bridge", "com.docker.network.host_ipv4", "2001:db8::7", "use an IPv4 address"),
        ("bridge", "com.docker.network.host_ipv6", "lan0", "use an IPv6 address"),
        ("bridge", "com.docker.network.enable_ipv6", "maybe", "use true or false"),
        ("bridge", _BRIDGE + "trusted_host_interfaces", "lan0:a/b", "without '/'"),
        ("bridge", _BRIDGE + "gateway_mode_ipv4", "open", "nat, nat-unprotected, routed"),
        ("bridge", "com.docker.network.driver.mtu", "9x", "use a number from 68"),
        ("bridge", "com.docker.network.driver.mtu", "66", "use a number from 68"),
        ("macvlan", "macvlan_mode", "bridged", "private, vepa, bridge, passthru"),
        ("macvlan", "com.docker.network.container_iface_prefix", "x" * 14, "invalid"),
        ("ipvlan", "ipvlan_mode", "l4", "use one of l2, l3, l3s"),
        ("ipvlan", "ipvlan_flag", "x", "bridge, private, vepa"),
    ],
)
def test_what_is_no_option_is_refused(driver: str, name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        parse_options(Driver(driver), {name: value})
    assert said in str(refusal.value)


def test_what_an_endpoint_may_ask_for() -> None:
    sysctls = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2"
    found = parse_extras(
        {
            "com.docker.network.endpoint.ifname": "lan0",
            "com.docker.network.endpoint.sysctls": sysctls,
        },
        ["169.254.7.8", "fe80::7"],
    )
    assert found.ifname == "lan0"
    assert found.sysctls == (
        ("ipv4/conf/IFNAME/log_martians", "1"),
        ("ipv6/conf/IFNAME/accept_ra", "2"),
    )
    assert [str(item) for item in found.link_local] == ["169.254.7.8/16", "fe80::7/64"]


@pytest.mark.parametrize(
    ("options", "link_local"),
    [
        ({"com.docker.network.endpoint.ifname": "lo"}, []),
        ({"com.docker.network.endpoint.ifname": "a/b"}, []),
        ({"com.docker.network.endpoint.sysctls": "net.ipv4.ip_forward=1"}, []),
        ({"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME/../x.y=1"}, []),
        ({"x": "y"}, []),
        ({}, ["10.0.0.1"]),
        ({}, ["x"]),
    ],
)
def test_what_an_endpoint_may_not_ask_for(options: dict[str, str], link_local: list[str]) -> None:
    with pytest.raises(InvalidParameterError):
        parse_extras(options, link_local)
