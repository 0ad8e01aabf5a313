"""Folders of ``RUN --mount=type=cache``: kept between builds, shared as each mount asks.

A folder counts once its row stands in the database, which is written after it is filled; one
without a row is what a crash left and is removed when the engine opens. Nothing here is part of a
cache key. Follows BuildKit's words: shared, private, locked.
"""

import os
import shutil
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

from kedge.builder.dockerfile.mounts import Sharing
from kedge.lib.clock import Clock
from kedge.lib.database import Database
from kedge.oci.hashing import sha256_digest

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS build_cache_mounts (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        created_ns INTEGER NOT NULL,
        last_used_ns INTEGER NOT NULL,
        uses INTEGER NOT NULL
    ) STRICT""",
)
_WAIT_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFolder:
    """One kept folder."""

    name: str
    id: str
    size_bytes: int
    created_ns: int
    last_used_ns: int
    uses: int
    is_used: bool


class CacheMounts:
    """The cache folders of one engine; thread-safe."""

    def __init__(self, database: Database, root: str, clock: Clock) -> None:
        """Open the folders below ``root`` and remove what has no record."""
        self._database = database
        self._root = root
        self._clock = clock
        self._changed = threading.Condition()
        self._users: dict[str, int] = {}
        self._exclusive: set[str] = set()
        database.ensure_schema(_SCHEMA)
        os.makedirs(root, mode=0o711, exist_ok=True)
        known = {name for name, *_ in self._rows()}
        for name in os.listdir(root):
            if name not in known:
                shutil.rmtree(os.path.join(root, name), ignore_errors=True)

    @contextmanager
    def take(
        self,
        cache_id: str,
        sharing: Sharing,
        check: Callable[[], None],
        fill: Callable[[str], None],
    ) -> Generator[str, None, None]:
        """Enclose the use of a folder and yield its path.

        Args:
            cache_id: Which; equal ids mean one folder.
            sharing: ``shared`` takes part, ``private`` gets a free one, ``locked`` waits.
            check: Called while waiting; raises when the build is cancelled.
            fill: Called with the path of a folder that is new.
        """
        name = self._acquire(cache_id, sharing, check)
        try:
            yield self._ready(name, cache_id, fill)
        finally:
            with self._changed:
                self._users[name] -= 1
                self._exclusive.discard(name)
                self._changed.notify_all()

    def _acquire(self, cache_id: str, sharing: Sharing, check: Callable[[], None]) -> str:
        stem = sha256_digest(cache_id.encode()).partition(":")[2][:32]
        number = 0
        with self._changed:
            while True:
                name = f"{stem}-{number}"
                is_busy = bool(self._users.get(name))
                if not is_busy or (sharing is Sharing.SHARED and name not in self._exclusive):
                    break
                if sharing is Sharing.PRIVATE:
                    number += 1
                    continue
                self._changed.wait(_WAIT_S)
                check()
            self._users[name] = self._users.get(name, 0) + 1
            if sharing is not Sharing.SHARED:
                self._exclusive.add(name)
        return name

    def _ready(self, name: str, cache_id: str, fill: Callable[[str], None]) -> str:
        path = os.path.join(self._root, name)
        now_ns = self._clock.time_ns()
        # Two that share a new folder must not both fill it.
        with self._changed:
            if not os.path.isdir(path) or name not in {row[0] for row in self._rows()}:
                shutil.rmtree(path, ignore_errors=True)
                os.mkdir(path, 0o755)
                fill(path)
            self._database.execute(
                "INSERT INTO build_cache_mounts VALUES (?, ?, ?, ?, 1) ON CONFLICT (name) "
                "DO UPDATE SET last_used_ns=excluded.last_used_ns, uses=uses+1",
                (name, cache_id, now_ns, now_ns),
            )
        return path

    def _rows(self) -> list[tuple[str, str, int, int, int]]:
        rows = self._database.query(
            "SELECT name, id, created_ns, last_used_ns, uses FROM build_cache_mounts ORDER BY name"
        )
        return cast("list[tuple[str, str, int, int, int]]", rows)

    def folders(self) -> list[CacheFolder]:
        """Return all folders with their size on disk."""
        return [
            CacheFolder(
                name=name,
                id=cache_id,
                size_bytes=disk_bytes(os.path.join(self._root, name)),
                created_ns=created_ns,
                last_used_ns=last_used_ns,
                uses=uses,
                is_used=bool(self._users.get(name)),
            )
            for name, cache_id, created_ns, last_used_ns, uses in self._rows()
        ]

    def prune(self, names: Collection[str]) -> tuple[list[str], int]:
        """Remove those of these folders no step uses; return their names and the bytes freed."""
        removed: list[str] = []
        freed = 0
        for folder in self.folders() if names else ():
            if folder.name not in names:
                continue
            with self._changed:
                if self._users.get(folder.name):
                    continue
                self._database.execute(
                    "DELETE FROM build_cache_mounts WHERE name=?", (folder.name,)
                )
                shutil.rmtree(os.path.join(self._root, folder.name), ignore_errors=True)
            removed.append(folder.name)
            freed += folder.size_bytes
        return removed, freed


def disk_bytes(path: str) -> int:
    """Return the bytes of disk below ``path``; what vanishes meanwhile counts nothing."""
    total = 0
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total
