"""Endpoints and networks that are going: what is free at once, and what when their links are gone.

Ports are taken back and the departure is recorded at once. The link goes in the background: that
costs the kernel some twenty milliseconds (it waits until no packet can still use it), which nobody
should wait for. Only then are addresses, MAC addresses and subnets given out again. What a crash
leaves of it is in the records, and `take_up` goes on with it.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from kedge.errdefs import SystemFailureError
from kedge.linux.netlink import NetlinkError
from kedge.network.addresses import AddressBook
from kedge.network.batches import Batches
from kedge.network.model import Endpoint, Network
from kedge.network.publishing import PortPublisher
from kedge.network.store import NetworkStore

# A link, and what is done once it is gone.
_Removal: TypeAlias = tuple[str, Callable[[], None]]


class Departures:
    """Removes endpoints and networks; takes the controller's lock where a link is gone."""

    def __init__(
        self,
        lock: threading.RLock,
        *,
        store: NetworkStore,
        addresses: AddressBook,
        publisher: PortPublisher,
        remove: Callable[[Sequence[str]], None],
    ) -> None:
        """Work on the parts the controller is made of.

        Args:
            lock: The controller's, which the caller of every method but `drain` and `close` holds.
            store: The records.
            addresses: Who has which.
            publisher: Ports, rules and the guard over addresses.
            remove: Removes links, by their names.
        """
        self._lock = lock
        self._store = store
        self._addresses = addresses
        self._publisher = publisher
        self._remove = remove
        self._removals = Batches[_Removal]("kedge-network-removals", self._remove_all)
        self._leaving_links: set[str] = set()

    def retire(self, endpoint: Endpoint) -> None:
        """Begin to remove an endpoint; its ports are free when this returns."""
        try:
            self._publisher.unpublish(endpoint.id)
        finally:
            self._addresses.leave(endpoint)
            self._reap(endpoint)

    def take_up(self) -> None:
        """Go on with what an earlier engine had begun."""
        for endpoint in self._addresses.leaving():
            self._reap(endpoint)
        self._remove_links(self._store.leaving_links(), _nothing)

    def remove_network(self, network: Network, links: Sequence[str]) -> None:
        """Begin to remove the links of a network that is recorded as gone."""
        self._remove_links(links, lambda: self._forget_network(network))

    def remove_strays(self, links: Sequence[str]) -> None:
        """Begin to remove links that have no record."""
        self._removals.submit([(link, _nothing) for link in links])

    def has_networks(self) -> bool:
        """Tell whether a network is still going: its subnet, or its bridge's name, is not free."""
        return bool(self._leaving_links)

    def drain(self) -> None:
        """Wait, without the lock, until everything is gone and free again."""
        self._removals.drain()

    def close(self) -> None:
        """Finish, without the lock, what was begun."""
        self._removals.close()

    def _remove_all(self, removals: Sequence[_Removal]) -> None:
        try:
            self._remove([link for link, _done in removals])
        except NetlinkError:
            # The records stay, and the next start of the engine tries again.
            return
        for _link, done in removals:
            done()

    def _reap(self, endpoint: Endpoint) -> None:
        if endpoint.link:
            self._removals.submit([(endpoint.link, lambda: self._forget(endpoint))])
        else:
            self._addresses.forget([endpoint.id])

    def _forget(self, endpoint: Endpoint) -> None:
        with self._lock:
            # A kernel that refuses now keeps an address from others, at worst.
            with contextlib.suppress(SystemFailureError):
                self._publisher.unguard(endpoint)
            self._addresses.forget([endpoint.id])

    def _remove_links(self, links: Sequence[str], done: Callable[[], None]) -> None:
        """Remove recorded links, then forget them and call ``done``."""
        if not links:
            done()
            return

        def forget() -> None:
            with self._lock:
                done()
                self._store.forget_links(links)
                self._leaving_links.difference_update(links)

        self._leaving_links.update(links)
        self.remove_strays(links[:-1])
        self._removals.submit([(links[-1], forget)])

    def _forget_network(self, network: Network) -> None:
        self._addresses.drop_pools(network.id)
        # A kernel that refuses now leaves rules for a bridge nobody has.
        with contextlib.suppress(SystemFailureError):
            self._publisher.remove_network(network.id)


def _nothing() -> None:
    """Follow the removal of a link whose record is all there was."""
