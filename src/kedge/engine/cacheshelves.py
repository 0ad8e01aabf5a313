"""What belongs to the build cache and no build made: contexts of clients, packages of bootstrap.

Both satisfy the builder's ``Shelf``: ``builder du`` and ``system df`` list them, ``builder prune``
and the collection under a size remove them.
"""

import os
import shutil
import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final

from kedge.builder.cache_mounts import disk_bytes
from kedge.builder.evictions import Item
from kedge.builder.files.kept import KeptContexts
from kedge.builder.keeping import FOLDER, Kept

PACKAGES: Final = "packages"
"""The id of all packages, and their type: BuildKit has none for them."""


class ContextShelf:
    """The contexts of ``kedge build``, of which a later build sends only what changed."""

    def __init__(self, contexts: KeptContexts) -> None:
        """Show ``contexts``."""
        self._contexts = contexts

    def kept(self) -> list[Kept]:
        """Return the contexts."""
        found: list[Kept] = []
        for context in self._contexts.contexts():
            item = Item(
                id=context.id,
                kind=FOLDER,
                description=f"context {context.name}",
                size_bytes=context.size_bytes,
                created_ns=context.created_ns,
                last_used_ns=context.used_ns,
                is_shared=False,
                is_used=context.is_used,
            )
            found.append(Kept(item, context.size_bytes, 1))
        return found

    def prune(self, ids: Collection[str]) -> tuple[list[str], int]:
        """Forget contexts no build uses."""
        return self._contexts.forget(ids)


class PackageShelf:
    """The packages that ``image bootstrap`` has fetched, as one entry; thread-safe."""

    def __init__(self, path: str) -> None:
        """Keep them in ``path``."""
        self._path = path
        self._lock = threading.Lock()
        self._users = 0

    @contextmanager
    def lend(self) -> Generator[str]:
        """Enclose a bootstrap; until it ends, nothing goes away."""
        with self._lock:
            self._users += 1
        try:
            yield self._path
        finally:
            with self._lock:
                self._users -= 1

    def kept(self) -> list[Kept]:
        """Return the entry; nothing before the first bootstrap."""
        size = disk_bytes(self._path)
        if not size:
            return []
        status = os.stat(self._path)
        item = Item(
            id=PACKAGES,
            kind=PACKAGES,
            description="packages for image bootstrap",
            size_bytes=size,
            created_ns=status.st_mtime_ns,
            last_used_ns=status.st_mtime_ns,
            is_shared=False,
            is_used=self._users > 0,
        )
        return [Kept(item, size, 1)]

    def prune(self, ids: Collection[str]) -> tuple[list[str], int]:
        """Remove the packages unless a bootstrap needs them."""
        with self._lock:
            if PACKAGES not in ids or self._users or not os.path.isdir(self._path):
                return [], 0
            freed = disk_bytes(self._path)
            shutil.rmtree(self._path, ignore_errors=True)
            return [PACKAGES], freed
