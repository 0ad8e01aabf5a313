"""What every network driver must do, whatever lies behind it.

Each test runs over all drivers twice: on a host of Python dictionaries, and on the real kernel for
the drivers it has, so that the contract keeps the fake honest as well.
"""

import functools
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from kedge.errdefs import ConflictError, ForbiddenError, KedgeError, NotFoundError
from kedge.network.model import Driver, Endpoint, EndpointSettings
from tests.contract.network.worlds import NAME, WIRE, Lab, clear, names_inside, play
from tests.integration.network_live.lab import has_ipvlan, own_network
from tests.unit.network.fake_kernel import Crash

_STEPS_MAX: Final = 90
_GATEWAY4: Final = ipaddress.ip_address("192.168.77.1")


class Kind(NamedTuple):
    """A driver, with the options that make another one of it."""

    name: str
    driver: Driver
    options: tuple[tuple[str, str], ...] = ()


_KINDS: Final = (
    Kind("bridge", Driver.BRIDGE),
    Kind(
        "bridge routed", Driver.BRIDGE, (("com.docker.network.bridge.gateway_mode_ipv4", "routed"),)
    ),
    Kind("macvlan", Driver.MACVLAN),
    Kind("ipvlan", Driver.IPVLAN),
    Kind("ipvlan l3", Driver.IPVLAN, (("ipvlan_mode", "l3"),)),
    Kind("host", Driver.HOST),
    Kind("none", Driver.NULL),
)


def contract(test: Callable[[Lab], None]) -> Callable[[Kind, bool, Path], None]:
    """Run a test for every driver, on both hosts."""

    def body(kind: Kind, tmp_path: Path, *, is_real: bool) -> None:
        lab = Lab(tmp_path, kind.driver, dict(kind.options), is_real=is_real)
        try:
            test(lab)
        finally:
            lab.close()

    def run(kind: Kind, is_real: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of pytest's
        call = functools.partial(body, kind, tmp_path, is_real=is_real)
        if not is_real:
            call()
            return
        if kind.driver is Driver.IPVLAN and not has_ipvlan():
            pytest.skip(f"this kernel has no {kind.driver} driver")
        own_network(call)()

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    fake = [pytest.param(kind, False, id=f"{kind.name} fake") for kind in _KINDS]
    # What differs in options alone, and host, which has no link, ask nothing else of the kernel.
    real = [
        pytest.param(kind, True, id=f"{kind.name} kernel", marks=pytest.mark.integration)
        for kind in _KINDS
        if not kind.options and kind.driver is not Driver.HOST
    ]
    return pytest.mark.parametrize(("kind", "is_real"), [*fake, *real])(run)


def interfaces(endpoint: Endpoint) -> list[str]:
    return [str(item) for item in (endpoint.ipv4, endpoint.ipv6) if item is not None]


@contract
def test_a_network_is_what_was_asked_for_and_stays_it(lab: Lab) -> None:
    lab.create()
    network = lab.networks.get(lab.network)
    assert (network.name, network.driver) == (lab.network, lab.driver)
    if lab.has_links:
        spec = lab.spec()
        assert [s.network for s in network.subnets] == [s.network for s in spec.subnets]
        assert (network.options, network.labels) == (spec.options, spec.labels)
        assert (network.enable_ipv4, network.enable_ipv6) == (True, True)
        with pytest.raises(ConflictError, match=f"network with name {NAME} already exists"):
            lab.create()
    # Nothing is on the host before the first container needs it.
    assert lab.links() == lab.before
    lab.restart()
    assert lab.networks.get(lab.network) == network
    assert lab.networks.get(network.id[:12]) == network


@contract
def test_addresses_are_the_networks_and_nobody_elses(lab: Lab) -> None:
    lab.create()
    first, second = lab.endpoint(), lab.endpoint()
    for endpoint in (first, second):
        assert (endpoint.network_name, endpoint.driver) == (lab.network, lab.driver)
    if not lab.has_links:
        assert interfaces(first) == []
        assert (first.mac, first.link, first.gateway4) == ("", "", None)
        return
    # .1 is the gateway's and .2 that of an --aux-address.
    assert interfaces(first) == ["192.168.77.3/28", "fd77::2/64"]
    assert interfaces(second) == ["192.168.77.4/28", "fd77::3/64"]
    # On ipvlan the MAC address is the parent's, and behind L3 there are no neighbours.
    assert bool(first.mac) == (lab.driver is not Driver.IPVLAN)
    assert first.mac != second.mac or not first.mac
    is_routed = lab.options.get("ipvlan_mode") == "l3"
    assert first.gateway4 == (None if is_routed else _GATEWAY4)
    wish = EndpointSettings(ipv4=ipaddress.IPv4Address("192.168.77.3"))
    with pytest.raises(ConflictError, match="address already in use"):
        lab.networks.create_endpoint("c" * 64, NAME, wish)


@contract
def test_an_exhausted_network_says_so_and_has_room_again(lab: Lab) -> None:
    lab.create()
    # Of sixteen: network, broadcast, gateway and the reserved one.
    endpoints = [lab.endpoint() for _ in range(12)]
    if not lab.has_links:
        assert len(lab.networks.endpoints(network=lab.network)) == 12
        return
    with pytest.raises(ConflictError, match=r"no available IPv4 addresses .*: lan"):
        lab.endpoint()
    assert len(lab.networks.endpoints(network=NAME)) == 12
    lab.detach(endpoints[5])
    assert interfaces(lab.endpoint())[0] == interfaces(endpoints[5])[0]


@contract
def test_attaching_makes_what_the_record_says(lab: Lab) -> None:
    lab.create()
    endpoint = lab.attach()
    with pytest.raises(ConflictError, match="already exists in network"):
        lab.networks.create_endpoint(endpoint.container_id, lab.network)
    assert lab.networks.endpoints(container_id=endpoint.container_id) == [endpoint]
    if not lab.is_real or lab.driver is Driver.HOST:
        return
    if lab.driver is Driver.NULL:
        assert names_inside(lab, endpoint) == {"lo"}
        return
    _, rtnl_fd = lab.sockets(endpoint)
    (link,) = (item for item in lab.kernel.links_in(rtnl_fd) if item.name == "eth0")
    assert link.is_up
    assert link.mac == endpoint.mac or not endpoint.mac
    addresses = lab.kernel.addresses_in(rtnl_fd)
    found = {str(a.interface) for a in addresses if a.ifindex == link.ifindex}
    assert {item for item in found if not item.startswith("fe80")} == set(interfaces(endpoint))


@contract
def test_detaching_twice_is_detaching_once(lab: Lab) -> None:
    lab.create()
    endpoint = lab.attach()
    for _ in range(2):
        lab.detach(endpoint)
        assert lab.networks.endpoints(network=lab.network) == []
    lab.networks.remove_endpoint("d" * 64)
    # Links that are the network's stay; those of containers do not.
    assert not {name for name in lab.links() - lab.before if name.startswith("veth")}
    again = lab.attach()
    assert interfaces(again) == interfaces(endpoint)


@contract
def test_a_container_that_runs_leaves_and_comes_back(lab: Lab) -> None:
    if lab.driver is Driver.HOST:
        # The engine refuses before anybody asks this far: there is no namespace to leave.
        return
    lab.create()
    endpoint = lab.attach()
    netns_fd, rtnl_fd = lab.sockets(endpoint)
    lab.networks.leave(endpoint.container_id, [lab.network], rtnl_fd=rtnl_fd)
    assert lab.networks.endpoints(container_id=endpoint.container_id) == []
    if lab.is_real:
        assert names_inside(lab, endpoint) == {"lo"}
    again = lab.networks.create_endpoint(endpoint.container_id, lab.network)
    lab.networks.join(again, netns_fd=netns_fd, rtnl_fd=rtnl_fd)
    if lab.is_real and lab.has_links:
        assert names_inside(lab, endpoint) == {"lo", "eth0"}
    assert interfaces(again) == interfaces(endpoint)


@contract
def test_a_network_in_use_stays_and_an_unused_one_leaves_nothing(lab: Lab) -> None:
    lab.create()
    endpoint = lab.attach()
    if not lab.has_links:
        with pytest.raises(ForbiddenError, match=r"cannot be removed|has active endpoints"):
            lab.networks.remove_network(lab.network)
        return
    with pytest.raises(ForbiddenError, match=f"network {NAME} has active endpoints"):
        lab.remove()
    lab.detach(endpoint)
    lab.remove()
    assert lab.links() == lab.before
    assert WIRE in lab.before
    with pytest.raises(NotFoundError, match=f"network {NAME} not found"):
        lab.remove()


@contract
def test_containers_that_run_survive_the_engine(lab: Lab) -> None:
    lab.create()
    alive, dead = lab.attach(), lab.attach()
    links = lab.links()
    lab.end(dead)
    lab.restart([alive.container_id])
    assert lab.networks.endpoints(network=lab.network) == [alive]
    assert alive.link not in links or alive.link in lab.links()
    if lab.is_real and lab.has_links:
        assert "eth0" in names_inside(lab, alive)
    fresh = lab.attach()
    assert interfaces(fresh) == interfaces(dead)
    assert not set(interfaces(fresh)) & set(interfaces(alive))


@contract
def test_a_crash_at_any_step_leaves_nothing(lab: Lab) -> None:
    for step in range(1, _STEPS_MAX):
        lab.kernel.steps, lab.kernel.crash_at = 0, step
        # What the background would have removed is still there when the engine dies.
        lab.kernel.refuses_removal = True
        crashed = False
        try:
            play(lab)
        except Crash:
            crashed = True
        for endpoint in lab.networks.endpoints():
            lab.end(endpoint)
        lab.restart()
        assert lab.networks.endpoints() == []
        assert not {name for name in lab.links() - lab.before if name.startswith("veth")}
        clear(lab)
        assert lab.links() - lab.before <= {lab.networks.get("bridge").bridge}
        if not crashed:
            break
    else:
        raise AssertionError("the day has no end")
    assert step > 4 or not lab.has_links


@contract
def test_a_refusal_at_any_step_is_one_failure_and_is_taken_back(lab: Lab) -> None:
    refusals: list[str] = []
    for step in range(1, _STEPS_MAX):
        lab.kernel.steps, lab.kernel.refuse_at = 0, step
        try:
            play(lab)
        except KedgeError as error:
            refusals.append(str(error))
        was_asked = lab.kernel.steps >= step
        lab.kernel.refuse_at = -1
        clear(lab)
        assert lab.networks.endpoints() == []
        assert lab.links() - lab.before <= {lab.networks.get("bridge").bridge}
        if not was_asked:
            break
        lab.restart()
    else:
        raise AssertionError("the day has no end")
    assert not lab.has_links or refusals
    assert [
        line for line in refusals if "\n" in line or "operation not permitted" not in line
    ] == []
