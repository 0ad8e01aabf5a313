"""Addresses, records and restarts together: whatever happens, none is out twice."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from kedge.errdefs import ConflictError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.database import Database
from kedge.lib.ids import new_id
from kedge.network.addresses import AddressBook
from kedge.network.catalogue import NetworkCatalogue
from kedge.network.ipam import parse_pool
from kedge.network.model import Endpoint, EndpointSettings, NetworkOptions, NetworkSpec
from kedge.network.store import NetworkStore

OPTIONS = NetworkOptions(network_pools=(parse_pool("10.0.0.0/16", 28),))


class BookMachine(RuleBasedStateMachine):
    """Two small networks; endpoints come, leave and are forgotten; the engine restarts."""

    active = Bundle("active")
    leaving = Bundle("leaving")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = str(Path(self.directory.name) / "state.db")
        self.known: dict[str, Endpoint] = {}
        self._open()
        for name in ("a", "b"):
            self.catalogue.create(
                NetworkSpec(name=name, enable_ipv6=True),
                [],
                lambda _spec, key: (f"br-{key[:12]}", True),
            )

    def _open(self) -> None:
        self.database = Database(self.path)
        store = NetworkStore(self.database)
        self.catalogue = NetworkCatalogue(store, "/root", OPTIONS, SYSTEM_CLOCK)
        self.book = AddressBook(store)

    def teardown(self) -> None:
        self.database.close()
        self.directory.cleanup()

    @rule(target=active, network=st.sampled_from("ab"))
    def create(self, network: str) -> Endpoint | None:
        found = self.catalogue.find(network)
        try:
            endpoint = self.book.create(new_id(), found, EndpointSettings())
        except ConflictError:
            used = [e for e in self.known.values() if e.network_id == found.id]
            assert len(used) == 13
            return None
        self.known[endpoint.id] = endpoint
        return endpoint

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

    @invariant()
    def no_address_is_out_twice(self) -> None:
        for version in ("ipv4", "ipv6"):
            addresses = [getattr(endpoint, version) for endpoint in self.known.values()]
            assert len(set(addresses)) == len(addresses)
        macs = [endpoint.mac for endpoint in self.known.values()]
        assert len(set(macs)) == len(macs)

    @invariant()
    def the_records_are_what_was_handed_out(self) -> None:
        there = [*self.book.active(), *self.book.leaving()]
        assert {endpoint.id: endpoint for endpoint in there} == self.known


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
