"""Keeps the engine's packet filter table there: has it made again when somebody removed it.

What is in the table is `kedge.network.publishing`'s.
"""

from collections.abc import Callable

from kedge.linux import nftables as nft
from kedge.network.kernel import HostKernel
from kedge.network.publishing import PortPublisher
from kedge.network.watch import TableWatch


class TableUpkeep:
    """Watches over one engine's table, in both families it has."""

    def __init__(
        self,
        kernel: HostKernel,
        table: str,
        publisher: PortPublisher,
        reconcile: Callable[[], None],
    ) -> None:
        """Look after ``table``; nothing is watched before `watch`.

        Args:
            kernel: The host.
            table: The table's name.
            publisher: Knows what the host's packet filter can do.
            reconcile: Makes the table anew; called in a thread of its own.
        """
        self._kernel = kernel
        self._table = table
        self._publisher = publisher
        self._reconcile = reconcile
        self._watch: TableWatch | None = None
        self._is_closed = False

    def watch(self) -> None:
        """Have the table made again whenever somebody removes it; a second call does nothing."""
        if self._watch is None and self._publisher.has_packet_filter:
            events = self._kernel.open_table_events()
            if events is not None:
                self._watch = TableWatch(events, self._table, self._repair)

    def has_table(self) -> bool:
        """Tell whether the table is there, of this run or of an earlier one."""
        return bool(self._families())

    def close(self) -> None:
        """End the watch; call it without a lock that ``reconcile`` takes."""
        self._is_closed = True
        if self._watch is not None:
            self._watch.close()

    def _families(self) -> set[int]:
        if not self._publisher.has_packet_filter:
            return set()
        try:
            chains = self._kernel.base_chains()
        except OSError:
            return set()
        return {chain.family for chain in chains if chain.table == self._table}

    def _repair(self) -> None:
        wanted = {nft.NFPROTO_INET}
        if self._publisher.can_guard:
            wanted.add(nft.NFPROTO_BRIDGE)
        # Our own rebuilding removes the table as well; it is there again when we look.
        if not self._is_closed and not wanted <= self._families():
            self._reconcile()
