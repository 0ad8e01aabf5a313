"""What a request for a new network means."""

import ipaddress

import msgspec
import pytest

from kedge.api.types.network import NetworkCreateRequest
from kedge.engine.networkspec import make_network_spec
from kedge.errdefs import KedgeError, NotSupportedError
from kedge.lib.jsontypes import Json, JsonObject


def request(**fields: Json) -> NetworkCreateRequest:
    return msgspec.convert({"Name": "shop", **fields}, NetworkCreateRequest)


def ipam(**fields: Json) -> Json:
    return {"Config": [fields]}


def test_a_subnet_with_everything() -> None:
    spec = make_network_spec(
        request(
            IPAM=ipam(
                Subnet="10.1.0.0/24",
                IPRange="10.1.0.128/25",
                AuxiliaryAddresses={"printer": "10.1.0.1"},
            ),
            EnableIPv6=True,
            Internal=True,
            Options={"com.docker.network.driver.mtu": "1400"},
        )
    )
    (subnet,) = spec.subnets
    assert str(subnet.ip_range) == "10.1.0.128/25"
    assert subnet.gateway == ipaddress.ip_address("10.1.0.2")
    assert (spec.enable_ipv4, spec.enable_ipv6, spec.is_internal) == (True, True, True)


def test_ipv4_can_be_switched_off() -> None:
    spec = make_network_spec(request(EnableIPv4=False, EnableIPv6=True))
    assert (spec.enable_ipv4, spec.enable_ipv6, spec.subnets) == (False, True, ())


def test_ip_versions_by_option_as_compose_files_have_them() -> None:
    options: JsonObject = {"com.docker.network.enable_ipv6": "true"}
    spec = make_network_spec(request(Options=options))
    assert (spec.enable_ipv4, spec.enable_ipv6) == (True, True)
    assert spec.options == options
    # A field of the request wins, and what it overrides is not shown.
    spec = make_network_spec(request(Options=options, EnableIPv6=False))
    assert (spec.enable_ipv6, spec.options) == (False, {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Subnet": "10.1.0.1/24"}, "invalid subnet 10.1.0.1/24: it should be 10.1.0.0/24"),
        ({"Subnet": "10.1.0.0/31"}, "subnet 10.1.0.0/31 has no address left for a container"),
        ({"Gateway": "10.1.0.1"}, "needs its subnet: add --subnet"),
        ({"Subnet": "10.1.0.0/24", "Gateway": "x"}, "invalid IP address: x"),
        ({"Subnet": "10.1.0.0/24", "Gateway": "fd00::1"}, "it is not in subnet 10.1.0.0/24"),
        ({"Subnet": "10.1.0.0/24", "IPRange": "10.2.0.0/25"}, "invalid ip-range 10.2.0.0/25"),
        ({"Subnet": "10.1.0.0/24", "IPRange": "fd00::/64"}, "invalid ip-range fd00::/64"),
    ],
)
def test_a_malformed_subnet_is_named(fields: dict[str, Json], message: str) -> None:
    with pytest.raises(KedgeError, match=f"invalid network config: .*{message}"):
        make_network_spec(request(IPAM=ipam(**fields)))


@pytest.mark.parametrize(
    "fields",
    [{"Scope": "swarm"}, {"Ingress": True}, {"ConfigOnly": True}, {"ConfigFrom": {"Network": "x"}}],
)
def test_what_needs_a_swarm_is_refused(fields: dict[str, Json]) -> None:
    with pytest.raises(NotSupportedError):
        make_network_spec(request(**fields))
