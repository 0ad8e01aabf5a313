"""Addresses, records and restarts together: whatever happens, none is out twice."""

import ipaddress
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from kedge.errdefs import ConflictError, ForbiddenError, InvalidParameterError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.network.addresses import AddressBook
from kedge.network.catalogue import NetworkCatalogue
from kedge.network.ipam import IPNetwork, find_overlap, parse_address, parse_network, parse_pool
from kedge.network.model import (
    Driver,
    Endpoint,
    EndpointSettings,
    Network,
    NetworkOptions,
    NetworkSpec,
    Subnet,
)
from kedge.network.store import NetworkStore

# Small enough to run out of subnets, and of addresses in each.
OPTIONS = NetworkOptions(network_pools=(parse_pool("10.0.0.0/26", 28),))
NAMES = ("a", "b", "c", "d", "e")


def link(_spec: NetworkSpec, network_id: str) -> tuple[str, bool]:
    return f"br-{network_id[:12]}", True


class BookMachine(RuleBasedStateMachine):
    """Networks and their endpoints come and go, routes appear, the engine restarts."""

    active = Bundle("active")
    leaving = Bundle("leaving")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = str(Path(self.directory.name) / "state.db")
        self.known: dict[str, Endpoint] = {}
        self.networks: dict[str, Network] = {}
        self.routes: set[IPNetwork] = set()
        self._open()

    def _open(self) -> None:
        self.database = Database(self.path)
        store = NetworkStore(self.database)
        self.catalogue = NetworkCatalogue(store, "/root", OPTIONS, SYSTEM_CLOCK)
        self.book = AddressBook(store)

    def teardown(self) -> None:
        self.database.close()
        self.directory.cleanup()

    # Networks

    @rule(name=st.sampled_from(NAMES))
    def create_network(self, name: str) -> None:
        """With a subnet the engine chooses, apart from all others and from the host's routes."""
        spec = NetworkSpec(name=name, enable_ipv6=True)
        try:
            network = self.catalogue.create(spec, list(self.routes), link)
        except ConflictError:
            assert name in self.networks
            return
        except ForbiddenError:
            there = [s.network for n in self.networks.values() for s in n.subnets]
            pools = parse_network("10.0.0.0/26").subnets(new_prefix=28)
            assert all(find_overlap(pool, [*there, *self.routes]) for pool in pools)
            return
        assert all(find_overlap(s.network, list(self.routes)) is None for s in network.subnets)
        self.networks[name] = network

    @rule(
        name=st.sampled_from(NAMES),
        number=st.integers(min_value=0, max_value=3),
        has_range=st.booleans(),
        aux=st.integers(min_value=2, max_value=14),
    )
    def create_chosen(self, name: str, number: int, has_range: bool, aux: int) -> None:  # noqa: FBT001
        """With a subnet, a range and a reserved address the user chooses."""
        base = parse_network(f"10.0.0.{number * 16}/28")
        subnet = Subnet(
            network=base,
            gateway=base[1],
            ip_range=parse_network(f"{base[0]}/30") if has_range else None,
            reserved={"router": base[aux]},
        )
        try:
            network = self.catalogue.create(
                NetworkSpec(name=name, subnets=(subnet,)), list(self.routes), link
            )
        except ConflictError:
            assert name in self.networks
        except ForbiddenError:
            there = [s.network for n in self.networks.values() for s in n.subnets]
            assert find_overlap(base, [*there, *self.routes]) is not None
        else:
            self.networks[name] = network

    @rule(name=st.sampled_from(NAMES))
    def remove_network(self, name: str) -> None:
        network = self.networks.get(name)
        if network is None or self.book.is_in_use(network.id):
            return
        self.catalogue.remove(network, [])
        self.book.drop_pools(network.id)
        del self.networks[name]

    @rule(number=st.integers(min_value=0, max_value=3))
    def a_route_comes_or_goes(self, number: int) -> None:
        self.routes ^= {parse_network(f"10.0.0.{number * 16}/28")}

    @rule(name=st.sampled_from(NAMES))
    def first_use(self, name: str) -> None:
        """An unused network whose subnet has got into a route's way gets another one."""
        network = self.networks.get(name)
        if network is None or self.book.is_in_use(network.id):
            return
        others = [s.network for n in self.networks.values() if n != network for s in n.subnets]
        try:
            again = self.catalogue.choose_again(network, list(self.routes))
        except ForbiddenError:
            return
        if again != network:
            self.book.drop_pools(network.id)
        for subnet in again.subnets:
            assert not subnet.is_automatic or not find_overlap(subnet.network, [*self.routes])
            assert find_overlap(subnet.network, others) is None
        self.networks[name] = again

    # Endpoints

    @precondition(lambda self: bool(self.networks))
    @rule(
        target=active,
        pick=st.integers(min_value=0, max_value=4),
        wish=st.none() | st.integers(min_value=0, max_value=15),
    )
    def create(self, pick: int, wish: int | None) -> Endpoint | None:
        network = list(self.networks.values())[pick % len(self.networks)]
        subnet = network.subnets[0]
        base = int(subnet.network[0])
        wanted = None if wish is None else ipaddress.IPv4Address(base + wish)
        used = {int(e.ipv4.ip) - base for e in self._of(network) if e.ipv4 is not None}
        used |= {1, *(int(item) - base for item in subnet.reserved.values())}
        free = set(range(1, 15)) - used
        within = free & set(range(4)) if subnet.ip_range is not None else free
        try:
            endpoint = self.book.create(new_id(), network, EndpointSettings(ipv4=wanted))
        except ConflictError:
            assert wish in used if wish is not None else not within
            return None
        except InvalidParameterError:
            assert wish in {0, 15}
            return None
        assert endpoint.ipv4 is not None
        number = int(endpoint.ipv4.ip) - base
        assert number == (min(within) if wish is None else wish)
        self.known[endpoint.id] = endpoint
        return endpoint

    def _of(self, network: Network) -> list[Endpoint]:
        return [e for e in self.known.values() if e.network_id == network.id]

    @rule(target=leaving, endpoint=consumes(active))
    def leave(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is not None:
            self.book.leave(endpoint)
        return endpoint

    @rule(endpoint=consumes(leaving))
    def forget(self, endpoint: Endpoint | None) -> None:
        if endpoint is not None:
            self.book.forget([endpoint.id])
            del self.known[endpoint.id]

    @rule()
    def restart(self) -> None:
        self.database.close()
        self._open()

    # What always holds

    @invariant()
    def no_address_is_out_twice(self) -> None:
        for version in ("ipv4", "ipv6"):
            addresses = [getattr(endpoint, version) for endpoint in self.known.values()]
            there = [address for address in addresses if address is not None]
            assert len(set(there)) == len(there)
        macs = [endpoint.mac for endpoint in self.known.values()]
        assert len(set(macs)) == len(macs)

    @invariant()
    def subnets_are_apart(self) -> None:
        subnets = [s.network for n in self.networks.values() for s in n.subnets]
        assert all(
            find_overlap(subnet, subnets[:number]) is None for number, subnet in enumerate(subnets)
        )

    @invariant()
    def the_records_are_what_was_handed_out(self) -> None:
        there = [*self.book.active(), *self.book.leaving()]
        assert {endpoint.id: endpoint for endpoint in there} == self.known
        assert {n.name: n for n in self.catalogue.networks()} == self.networks


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)


def two_subnets(driver: Driver) -> NetworkSpec:
    return NetworkSpec(
        name="lan",
        driver=driver,
        subnets=tuple(
            Subnet(network=parse_network(f"10.{n}.0.0/30"), gateway=parse_address(f"10.{n}.0.1"))
            for n in (7, 8)
        ),
        options={"parent": "eth0"} if driver is not Driver.BRIDGE else {},
    )


@pytest.fixture
def store(tmp_path: Path) -> NetworkStore:
    return NetworkStore(Database(str(tmp_path / "state.db")))


@pytest.mark.parametrize("driver", [Driver.MACVLAN, Driver.IPVLAN])
def test_the_next_subnet_is_used_when_the_first_is_full(
    store: NetworkStore, driver: Driver
) -> None:
    catalogue = NetworkCatalogue(store, "/root", OPTIONS, SYSTEM_CLOCK)
    network = catalogue.create(two_subnets(driver), [], lambda _spec, _id: ("eth0", False))
    book = AddressBook(store)
    first, second = (book.create(new_id(), network, EndpointSettings()) for _ in range(2))
    assert (str(first.ipv4), str(first.gateway4)) == ("10.7.0.2/30", "10.7.0.1")
    assert (str(second.ipv4), str(second.gateway4)) == ("10.8.0.2/30", "10.8.0.1")
    with pytest.raises(ConflictError, match="no available IPv4 addresses"):
        book.create(new_id(), network, EndpointSettings())
    book.forget([second.id])
    wish = EndpointSettings(ipv4=ipaddress.IPv4Address("10.8.0.2"))
    assert book.create(new_id(), network, wish).ipv4 == second.ipv4
    outside = EndpointSettings(ipv4=ipaddress.IPv4Address("10.9.0.2"))
    with pytest.raises(InvalidParameterError, match="no configured subnet contains"):
        book.create(new_id(), network, outside)


def test_a_bridge_has_one_subnet_of_each_version(store: NetworkStore) -> None:
    catalogue = NetworkCatalogue(store, "/root", OPTIONS, SYSTEM_CLOCK)
    with pytest.raises(ForbiddenError, match="bridge driver doesn't support multiple subnets"):
        catalogue.create(two_subnets(Driver.BRIDGE), [], link)
