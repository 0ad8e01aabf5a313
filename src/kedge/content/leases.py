"""Leases: what must outlive a garbage collection although nothing refers to it yet.

A pull or a build writes blobs and snapshots long before the record that refers to them. It holds
a `Lease` meanwhile and adds each name **before** it looks whether the thing is already there.
Leases live in memory only: after a crash nobody is writing, so what was leased is garbage.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class Lease:
    """Names (digests, chain ids) that garbage collection leaves alone until `release`."""

    def __init__(self, leases: "Leases") -> None:
        self._leases = leases
        self._names: set[str] = set()

    def add(self, *names: str) -> None:
        """Protect ``names`` from now on."""
        self._leases.add(self._names, names)

    def release(self) -> None:
        """Give everything up; idempotent."""
        self._leases.drop(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Leases:
    """All leases of one engine; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[str, int] = {}
        self._collections = 0
        self._dropped_meanwhile: set[str] = set()

    def lease(self) -> Lease:
        """Return an empty lease; use it as a context manager."""
        return Lease(self)

    def add(self, mine: set[str], names: tuple[str, ...]) -> None:
        """Count ``names`` as held once more, unless ``mine`` has them already."""
        with self._lock:
            for name in names:
                if name not in mine:
                    mine.add(name)
                    self._held[name] = self._held.get(name, 0) + 1

    def drop(self, mine: set[str]) -> None:
        """Give up ``mine``."""
        with self._lock:
            for name in mine:
                self._held[name] -= 1
                if not self._held[name]:
                    del self._held[name]
            if self._collections:
                self._dropped_meanwhile |= mine
            mine.clear()

    @contextmanager
    def collecting(self) -> Generator[None, None, None]:
        """Enclose a garbage collection, from before it asks what is reachable.

        What is released meanwhile stays protected to the end, because the record that took over
        may have been written after the collection had read the records.
        """
        with self._lock:
            self._collections += 1
        try:
            yield
        finally:
            with self._lock:
                self._collections -= 1
                if not self._collections:
                    self._dropped_meanwhile.clear()

    @contextmanager
    def unless_held(self, name: str) -> Generator[bool, None, None]:
        """Yield whether ``name`` may be removed; nobody can lease it inside the block.

        The metadata store may be asked inside, so nobody may lease anything inside a transaction.
        """
        with self._lock:
            yield name not in self._held and name not in self._dropped_meanwhile
