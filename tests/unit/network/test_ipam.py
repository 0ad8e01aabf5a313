import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError
from kedge.network.ipam import (
    DEFAULT_BRIDGE_POOLS,
    DEFAULT_NETWORK_POOLS,
    AddressPool,
    IPAddress,
    IPNetwork,
    choose_subnet,
    find_overlap,
    parse_address,
    parse_network,
    parse_pool,
)

SMALL = ipaddress.ip_network("10.0.0.0/28")
GATEWAY = ipaddress.ip_address("10.0.0.1")


class PoolMachine(RuleBasedStateMachine):
    """Whatever is asked and given back, no address is out twice."""

    addresses = Bundle("addresses")

    def __init__(self) -> None:
        super().__init__()
        self.pool = AddressPool(SMALL, used=[GATEWAY])
        self.out: set[IPAddress] = set()

    @rule(target=addresses)
    def allocate(self) -> IPAddress | None:
        try:
            address = self.pool.allocate()
        except ConflictError:
            assert len(self.out) == 13
            return None
        assert address not in self.out
        assert address != GATEWAY
        assert all(int(other) < int(address) or other in self.out for other in self._below(address))
        self.out.add(address)
        return address

    def _below(self, address: IPAddress) -> list[IPAddress]:
        first = int(SMALL[2])
        return [SMALL[number - int(SMALL[0])] for number in range(first, int(address))]

    @rule(target=addresses, number=st.integers(min_value=-3, max_value=20))
    def allocate_one(self, number: int) -> IPAddress | None:
        wanted = ipaddress.ip_address(int(SMALL[0]) + number)
        try:
            address = self.pool.allocate(wanted)
        except ConflictError:
            assert wanted in self.out or wanted == GATEWAY
            return None
        except InvalidParameterError:
            assert wanted not in list(SMALL.hosts())
            return None
        assert address == wanted
        assert wanted not in self.out
        self.out.add(wanted)
        return wanted

    @rule(address=consumes(addresses))
    def release(self, address: IPAddress | None) -> None:
        if address is not None:
            self.pool.release(address)
            self.out.discard(address)

    @rule()
    def restart(self) -> None:
        self.pool = AddressPool(SMALL, used=[GATEWAY, *self.out])

    @invariant()
    def what_is_out_is_known(self) -> None:
        assert all(address in self.pool for address in self.out)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_first_container_gets_point_two() -> None:
    pool = AddressPool(ipaddress.ip_network("172.17.0.0/16"), used=[parse_address("172.17.0.1")])
    assert str(pool.allocate()) == "172.17.0.2"
    assert str(pool.allocate()) == "172.17.0.3"


def test_an_ip_range_limits_the_choice_but_not_the_wish() -> None:
    pool = AddressPool(
        ipaddress.ip_network("10.1.0.0/16"),
        name="shop",
        ip_range=ipaddress.ip_network("10.1.9.0/30"),
    )
    assert [str(pool.allocate()) for _ in range(4)] == [f"10.1.9.{n}" for n in range(4)]
    with pytest.raises(ConflictError, match=r"no available IPv4 addresses .*: shop"):
        pool.allocate()
    assert str(pool.allocate(parse_address("10.1.0.7"))) == "10.1.0.7"


def test_wishes_that_cannot_be_met() -> None:
    pool = AddressPool(SMALL, name="shop", used=[GATEWAY])
    for text, message in (
        ("10.0.1.1", "no configured subnet contains IP address 10.0.1.1; network shop has"),
        ("fd00::1", "no configured subnet contains IP address fd00::1"),
        ("10.0.0.0", "is the network or broadcast address"),
        ("10.0.0.15", "is the network or broadcast address"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            pool.allocate(parse_address(text))
    with pytest.raises(ConflictError, match=r"address already in use: 10\.0\.0\.1 on network shop"):
        pool.allocate(GATEWAY)


def test_ipv6_pools_are_not_searched_by_size() -> None:
    pool = AddressPool(parse_network("fd00:1::/64"), used=[parse_address("fd00:1::1")])
    assert str(pool.allocate()) == "fd00:1::2"
    assert str(pool.allocate(parse_address("fd00:1::ffff:ffff"))) == "fd00:1::ffff:ffff"


@st.composite
def networks(draw: st.DrawFn) -> IPNetwork:
    base = draw(st.integers(min_value=0x0A000000, max_value=0x0AFFFFFF))
    length = draw(st.integers(min_value=10, max_value=30))
    return ipaddress.ip_network((base, length), strict=False)


@given(st.lists(networks(), max_size=12))
def test_a_chosen_subnet_overlaps_nothing(taken: list[IPNetwork]) -> None:
    pools = [parse_pool("10.0.0.0/9", 14), parse_pool("10.128.0.0/9", 24)]
    try:
        chosen = choose_subnet(pools, taken)
    except ForbiddenError:
        # Half of the range is cut into large pieces, each of which one network can spoil.
        assert len(taken) > 1
        return
    assert find_overlap(chosen, taken) is None


def test_the_default_bridge_follows_dockers_order() -> None:
    assert str(choose_subnet(DEFAULT_BRIDGE_POOLS, [])) == "172.17.0.0/16"
    taken = [parse_network("172.17.0.0/16"), parse_network("172.18.4.0/24")]
    assert str(choose_subnet(DEFAULT_BRIDGE_POOLS, taken)) == "172.19.0.0/16"
    taken = [parse_network("172.16.0.0/12")]
    assert str(choose_subnet(DEFAULT_BRIDGE_POOLS, taken)) == "192.168.0.0/20"


def test_thousands_of_networks_have_a_subnet() -> None:
    taken: list[IPNetwork] = [parse_network("172.17.0.0/16")]
    for _ in range(300):
        taken.append(choose_subnet(DEFAULT_NETWORK_POOLS, taken))
    assert str(taken[-1]) == "172.19.43.0/24"


def test_exhausted_pools_name_what_is_in_the_way() -> None:
    taken = [parse_network("10.0.0.0/8")]
    with pytest.raises(ForbiddenError) as caught:
        choose_subnet([parse_pool("10.3.0.0/16", 24)], taken)
    assert str(caught.value) == (
        "all predefined address pools have been fully subnetted; in the way: 10.0.0.0/8; "
        "give a subnet of your own with --subnet"
    )


@pytest.mark.parametrize("text", ["10.0.0.1/24", "ten", "10.0.0.0/33", ""])
def test_malformed_subnets(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid subnet"):
        parse_network(text)


def test_malformed_pools_and_addresses() -> None:
    with pytest.raises(InvalidParameterError, match="invalid size 8 for address pool"):
        parse_pool("10.0.0.0/16", 8)
    with pytest.raises(InvalidParameterError, match=r"invalid IP address: 1\.2\.3"):
        parse_address("1.2.3")
