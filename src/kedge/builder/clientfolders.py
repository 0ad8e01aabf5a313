"""Folders of clients, kept between builds so that a later one transfers only what changed.

They belong to the build cache: they are listed, collected and pruned with it. A folder is named
by the hash of its key; a client that gives no key, and a second build of one folder at a time,
gets a folder of its own that goes with the build.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final, NamedTuple

from kedge.builder.cache_mounts import disk_bytes

_PREFIX: Final = "kept-"
_MOST: Final = 64


class ClientFolder(NamedTuple):
    """One kept folder."""

    name: str
    size_bytes: int
    last_used_ns: int
    is_used: bool


class ClientFolders:
    """The kept folders of one engine; thread-safe."""

    def __init__(self, root: str) -> None:
        """Keep them below ``root``; what an earlier run of the engine kept stays usable."""
        self.root = root
        os.makedirs(root, mode=0o700, exist_ok=True)
        for name in os.listdir(root):
            if not name.startswith(_PREFIX):
                shutil.rmtree(os.path.join(root, name), ignore_errors=True)
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @contextmanager
    def folder(self, key: str) -> Generator[str, None, None]:
        """Lend the folder of ``key`` to one build at a time; others get an empty one."""
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        name = f"{_PREFIX}{digest}"
        with self._lock:
            free = bool(key) and name not in self._taken
            if free:
                self._taken.add(name)
        if not free:
            path = tempfile.mkdtemp(dir=self.root)
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
            return
        path = os.path.join(self.root, name)
        try:
            os.makedirs(os.path.join(path, "files"), mode=0o700, exist_ok=True)
            # Of the folder around the client's: when it was used, whatever time the client's has.
            os.utime(path)
            yield os.path.join(path, "files")
        finally:
            with self._lock:
                self._taken.discard(name)
            self._drop_oldest()

    def folders(self) -> list[ClientFolder]:
        """Return all folders with their size on disk, the least recently used first."""
        found: list[ClientFolder] = []
        for name in os.listdir(self.root):
            path = os.path.join(self.root, name)
            if not name.startswith(_PREFIX):
                continue  # it goes with its build
            try:
                last_used_ns = os.stat(path).st_mtime_ns
            except FileNotFoundError:
                continue
            found.append(
                ClientFolder(
                    name=name,
                    size_bytes=disk_bytes(path),
                    last_used_ns=last_used_ns,
                    is_used=name in self._taken,
                )
            )
        return sorted(found, key=lambda folder: folder.last_used_ns)

    def prune(self, names: Collection[str]) -> tuple[list[str], int]:
        """Remove those of these folders no build uses; return their names and the bytes freed."""
        removed: list[str] = []
        freed = 0
        for name in names:
            path = os.path.join(self.root, name)
            with self._lock:
                if name in self._taken or not name.startswith(_PREFIX):
                    continue
                freed += disk_bytes(path)
                shutil.rmtree(path, ignore_errors=True)
            removed.append(name)
        return removed, freed

    def _drop_oldest(self) -> None:
        with self._lock:
            found = [
                (entry.stat().st_mtime_ns, entry.path)
                for entry in os.scandir(self.root)
                if entry.name.startswith(_PREFIX) and entry.name not in self._taken
            ]
            for _, path in sorted(found, reverse=True)[_MOST:]:
                shutil.rmtree(path, ignore_errors=True)
