"""What an engine that starts makes of what an earlier one has left: on record and on the host.

A record is written before the kernel is changed and removed after, so everything on the host that
is the engine's has one, or is a stray. Endpoints of containers that do not run any more go, what
was going goes on, and what is in use is made as the records say.
"""

from collections.abc import Collection

from kedge.errdefs import KedgeError
from kedge.network.addresses import AddressBook
from kedge.network.bridge import BridgeDriver
from kedge.network.catalogue import NetworkCatalogue
from kedge.network.departures import Departures
from kedge.network.model import RestoreReport
from kedge.network.preparation import HostPreparation
from kedge.network.publishing import PortPublisher
from kedge.network.store import NetworkStore
from kedge.network.upkeep import TableUpkeep


class Recovery:
    """Puts an engine's networks right; the caller holds the controller's lock."""

    def __init__(
        self,
        *,
        store: NetworkStore,
        catalogue: NetworkCatalogue,
        addresses: AddressBook,
        driver: BridgeDriver,
        publisher: PortPublisher,
        preparation: HostPreparation,
        departures: Departures,
        upkeep: TableUpkeep,
    ) -> None:
        """Work on the parts the controller is made of."""
        self._store = store
        self._catalogue = catalogue
        self._addresses = addresses
        self._driver = driver
        self._publisher = publisher
        self._preparation = preparation
        self._departures = departures
        self._upkeep = upkeep

    def restore(self, active: Collection[str]) -> RestoreReport:
        """Bring records, bridges, packet filter, claims and links together.

        Args:
            active: Ids of the containers that run. Everything of others is removed.
        """
        removed = self._retire_ended(active)
        self._departures.take_up()
        for network in self._catalogue.networks():
            if self._addresses.active(network_id=network.id) and network.has_own_links:
                self._preparation.ensure_live(network)
        if self._preparation.is_any_live():
            self._upkeep.watch()
        problems = self._republish()
        orphans = self._remove_orphans()
        self._preparation.remember(problems)
        return RestoreReport(
            removed_endpoints=tuple(removed),
            removed_links=tuple(orphans),
            problems=tuple(problems),
        )

    def _retire_ended(self, active: Collection[str]) -> list[str]:
        ended = [item for item in self._addresses.active() if item.container_id not in active]
        for endpoint in ended:
            self._departures.retire(endpoint)
        return [endpoint.container_id for endpoint in ended]

    def _republish(self) -> list[str]:
        endpoints = {endpoint.id: endpoint for endpoint in self._addresses.active()}
        self._publisher.guard(endpoints.values())
        problems: list[str] = []
        for endpoint_id, port in self._store.ports():
            endpoint = endpoints.get(endpoint_id)
            if endpoint is not None:
                problems += self._publisher.republish(endpoint, [port])
        if self._preparation.is_any_live() or self._upkeep.has_table():
            try:
                self._publisher.sync()
            except KedgeError as error:
                problems.append(str(error))
        return problems

    def _remove_orphans(self) -> list[str]:
        bridges = {network.bridge for network in self._catalogue.networks() if network.bridge}
        known = {e.link for e in [*self._addresses.active(), *self._addresses.leaving()]}
        orphans = self._driver.orphans(bridges, known)
        self._departures.remove_strays(orphans)
        return orphans
