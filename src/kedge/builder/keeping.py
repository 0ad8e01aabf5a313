"""The build cache as a whole: what it takes, what is removed by hand, and what by itself.

Joins remembered steps, cache mounts, kept folders of clients and what else the engine keeps for the
next time (`Shelf`). A removal forgets records first
and frees layers and blobs after that, so a crash in between leaves garbage that the next collection
finds.
"""

import os
import threading
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from kedge.builder.cache import BuildCache
from kedge.builder.cache_mounts import CacheMounts
from kedge.builder.clientfolders import ClientFolders
from kedge.builder.evictions import Disk, Item, Policy, select_evicted
from kedge.images.store import ImageStore
from kedge.lib.clock import Clock

REGULAR = "regular"
MOUNT = "exec.cachemount"
FOLDER = "source.local"


class Kept(NamedTuple):
    """One entry as ``builder du`` shows it."""

    item: Item
    disk_bytes: int
    uses: int


class Pruned(NamedTuple):
    """What a removal did."""

    ids: tuple[str, ...]
    freed_bytes: int


class Shelf(Protocol):
    """Something else that is kept so that the next time is quicker; thread-safe."""

    def kept(self) -> list[Kept]:
        """Return what is there, ids unlike those of any other."""
        ...

    def prune(self, ids: Collection[str]) -> tuple[list[str], int]:
        """Remove those of ``ids`` that are here and not in use; return them, and bytes freed."""
        ...


class CacheKeeper:
    """The cache of one engine; thread-safe."""

    def __init__(
        self,
        cache: BuildCache,
        mounts: CacheMounts,
        folders: ClientFolders,
        *,
        images: ImageStore,
        root: str,
        clock: Clock,
    ) -> None:
        """Look after steps, cache mounts and clients' folders, all on the disk of ``root``."""
        self._cache = cache
        self._mounts = mounts
        self._folders = folders
        self._images = images
        self._root = root
        self._clock = clock
        self._pruning = threading.Lock()
        self._shelves: list[Shelf] = []

    def add(self, shelf: Shelf) -> None:
        """Look after what is on ``shelf``, too."""
        self._shelves.append(shelf)

    def entries(self) -> list[Kept]:
        """Return everything that is kept, the least recently used step first."""
        seen: set[str] = set()
        kept: list[Kept] = []
        for record in self._cache.records():
            is_shared = self._images.has_layer(record.chain_id)
            size = record.size_bytes + record.blob.size
            # Two steps may have made the same layer, which takes its space once.
            counted = 0 if is_shared or record.chain_id in seen else size
            seen.add(record.chain_id)
            item = Item(
                id=record.key,
                kind=REGULAR,
                description=record.step,
                size_bytes=counted,
                created_ns=record.created_ns,
                last_used_ns=record.last_used_ns,
                is_shared=is_shared,
                is_used=False,
            )
            kept.append(Kept(item, size, record.uses))
        for folder in self._mounts.folders():
            item = Item(
                id=folder.name,
                kind=MOUNT,
                description=f"cache mount {folder.id}",
                size_bytes=folder.size_bytes,
                created_ns=folder.created_ns,
                last_used_ns=folder.last_used_ns,
                is_shared=False,
                is_used=folder.is_used,
            )
            kept.append(Kept(item, folder.size_bytes, folder.uses))
        for shelf in self._shelves:
            kept += shelf.kept()
        return kept + self._client_folders()

    def _client_folders(self) -> list[Kept]:
        kept: list[Kept] = []
        for folder in self._folders.folders():
            item = Item(
                id=folder.name,
                kind=FOLDER,
                description="files of a client's folder",
                size_bytes=folder.size_bytes,
                created_ns=folder.last_used_ns,
                last_used_ns=folder.last_used_ns,
                is_shared=False,
                is_used=folder.is_used,
            )
            kept.append(Kept(item, folder.size_bytes, 1))
        return kept

    def prune(self, policies: Sequence[Policy]) -> Pruned:
        """Remove what each of ``policies`` says, one after the other.

        Returns:
            What went and how many bytes that gave back.
        """
        with self._pruning:
            ids: list[str] = []
            freed = 0
            for policy in policies:
                items = [kept.item for kept in self.entries()]
                evicted = select_evicted(items, policy, self._disk())
                steps = [item.id for item in evicted if item.kind == REGULAR]
                names = [item.id for item in evicted if item.kind == MOUNT]
                if steps:
                    self._cache.forget(*steps, now_ns=self._clock.time_ns())
                    freed += self._images.collect_garbage().freed_bytes
                folders = [item.id for item in evicted if item.kind == FOLDER]
                ids += steps
                others = [item.id for item in evicted if item.kind != REGULAR]
                for gone, freed_bytes in (
                    self._mounts.prune(names),
                    self._folders.prune(folders),
                    *(shelf.prune(others) for shelf in self._shelves),
                ):
                    ids += gone
                    freed += freed_bytes
            return Pruned(tuple(ids), freed)

    def _disk(self) -> Disk:
        status = os.statvfs(self._root)
        return Disk(status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize)
