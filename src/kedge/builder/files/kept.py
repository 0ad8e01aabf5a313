"""Contexts that were sent before: a later build sends only what changed.

A client first sends a list of what its folder holds, with the size, the times and the inode of
each file; it is told which files are not known, sends these, and the rest comes from earlier
builds. Content stays in the temporary files it arrived in, which have no names: an engine that
ends leaves nothing, and its next run asks for everything once.
"""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import msgspec

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.tar import TarTree
from kedge.builder.files.tree import ROOT_ENTRY, clip
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.lib.ids import new_id

if TYPE_CHECKING:
    from kedge.builder.files.digests import Selections

_MOST_CONTEXTS: Final = 16
_MOST_PENDING: Final = 64
_MOST_GENERATIONS: Final = 12
_MOST_BYTES: Final = 2 << 30
_MOST_FILES: Final = 2_000_000
_KINDS: Final = {"f": Kind.REGULAR, "d": Kind.DIRECTORY, "l": Kind.SYMLINK, "p": Kind.FIFO}


class Listed(msgspec.Struct, array_like=True, frozen=True):
    """One file as its client sees it."""

    path: str
    kind: str
    """``f``, ``d``, ``l`` or ``p``: file, directory, link, pipe."""
    mode: int
    mtime_ns: int
    size: int = 0
    stamp: str = ""
    """Changes whenever the content may have: made of inode and change time."""
    link: str = ""


def parse_listing(data: bytes) -> list[Listed]:
    """Read the list a client sends.

    Raises:
        InvalidParameterError: It is none, or too long.
    """
    try:
        listed = msgspec.json.decode(data, type=list[Listed])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"invalid list of a build context: {error}") from None
    if len(listed) > _MOST_FILES:
        raise InvalidParameterError(f"a build context of more than {_MOST_FILES} files")
    for item in listed:
        if item.kind not in _KINDS or not _is_clean(item.path):
            raise InvalidParameterError(f"invalid list of a build context: {item.path!r}")
    return listed


def _is_clean(path: str) -> bool:
    """Say whether a path is one that `clip` leaves as it is; most are told at a glance."""
    plain = path and not path.startswith("/") and "//" not in path and "." not in path
    return bool(plain and not path.endswith("/")) or (bool(path) and clip(path) == path)


class _Generation:
    """The files of one transfer, and how many trees use them."""

    def __init__(self, tree: TarTree) -> None:
        self.tree = tree
        self.users = 0


class _File(NamedTuple):
    item: Listed
    entry: Entry
    generation: _Generation | None


class Compared(NamedTuple):
    """What a client is told."""

    token: str
    needed: list[int]
    """Positions in its list."""


class KeptTree:
    """A context made of several transfers; satisfies ``Tree``. Release it after the build."""

    def __init__(
        self,
        listed: Sequence[Listed],
        files: dict[str, _File],
        release: "Callable[[KeptTree], None]",
    ) -> None:
        self.listed = listed
        self.files = files
        self.users = 0
        self.selections: Selections = {}
        """Digests of what steps copied from it; good for ever, as it never changes."""
        self._release = release
        self._names: dict[str, tuple[str, ...]] = {}
        children: dict[str, list[str]] = {"": []}
        for path in files:
            parent, _, name = path.rpartition("/")
            children.setdefault(parent, []).append(name)
        for parent, names in children.items():
            self._names[parent] = tuple(sorted(names))

        self.generations = {
            file.generation for file in files.values() if file.generation is not None
        }
        """The transfers it is made of."""
        self.size_bytes = sum(file.entry.size for file in files.values())
        """Bytes of its files."""
        self.created_ns = self.used_ns = 0

    @property
    def disk_bytes(self) -> int:
        """What its transfers take, files that later ones replaced, too."""
        return sum(generation.tree.stored_bytes for generation in self.generations)

    def is_of(self, listed: Sequence[Listed]) -> bool:
        """Say whether it is exactly what a list names, so that nothing has to be sent."""
        return len(self.files) == len(listed) and self.listed == listed

    def release(self) -> None:
        """Use it no more."""
        self._release(self)

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        found = self.files.get(path)
        if found is not None:
            return found.entry
        # A folder that only its content names.
        return ROOT_ENTRY if path in self._names else None

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        return self._names.get(path, ())

    def digest(self, path: str) -> str:
        """Return the digest that was computed when the file came."""
        return self._holder(path).digest(path)

    def write_to(self, path: str, descriptor: int) -> None:
        """Copy the content of a file inside the kernel."""
        self._holder(path).write_to(path, descriptor)

    def open(self, path: str) -> BinaryIO:
        """Return a temporary file with the content of ``path``."""
        return self._holder(path).open(path)

    def _holder(self, path: str) -> TarTree:
        found = self.files.get(path)
        if found is None or found.generation is None:
            raise NotFoundError(f"no such file: {path}")
        return found.generation.tree


class _Pending(NamedTuple):
    key: str
    listed: Sequence[Listed]
    base: KeptTree | None


class KeptContext(NamedTuple):
    """A remembered context as the build cache lists it."""

    id: str
    name: str
    """Host and folder, as its client says."""
    size_bytes: int
    created_ns: int
    used_ns: int
    is_used: bool


class KeptContexts:
    """The contexts one engine remembers; thread-safe."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Remember none yet; ``now_ns`` tells when one is used."""
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._kept: dict[str, KeptTree] = {}
        self._pending: dict[str, _Pending] = {}

    def compare(self, key: str, listed: Sequence[Listed]) -> Compared:
        """Return which files are not known, and a token for the build that brings them.

        Args:
            key: Names the folder; equal keys may share files, unequal ones never do.
            listed: What is in the folder.
        """
        with self._lock:
            base = self._kept.get(key)
            if base is not None and len(base.generations) >= _MOST_GENERATIONS:
                # Everything anew once, or changed files would be kept for ever.
                base = None
            if base is not None:
                base.users += 1
            needed = [] if base is not None and base.is_of(listed) else _unknown(listed, base)
            token = new_id()
            self._pending[token] = _Pending(key, listed, base)
            for old in list(self._pending)[:-_MOST_PENDING]:
                self._drop(self._pending.pop(old))
            return Compared(token, needed)

    def take(self, token: str, body: TarTree) -> KeptTree:
        """Return the context of a token, with the files that ``body`` brings; it is taken over.

        Raises:
            ConflictError: Nobody remembers the token, or a file was neither known nor brought.
        """
        with self._lock:
            pending = self._pending.pop(token, None)
            if pending is None:
                body.close()
                raise ConflictError("the engine has forgotten this build context: build again")
            base = pending.base
            if base is not None and base.is_of(pending.listed):
                # Its count of users passes from the pending request to the build.
                body.close()
                self._keep(pending.key, base)
                return base
            files = _merged(pending, _Generation(body))
            tree = KeptTree(pending.listed, files, self._release)
            used = tree.generations
            for generation in used:
                generation.users += 1
            # Only now: the base may be all that holds what the new tree took over from it.
            self._drop(pending)
            if all(generation.tree is not body for generation in used):
                body.close()
            tree.users = 1
            self._keep(pending.key, tree)
            return tree

    def contexts(self) -> list[KeptContext]:
        """Return what is remembered, the least recently used first."""
        with self._lock:
            return [
                KeptContext(
                    id=_id(key),
                    name=_name(key),
                    size_bytes=tree.disk_bytes,
                    created_ns=tree.created_ns,
                    used_ns=tree.used_ns,
                    is_used=tree.users > 1,
                )
                for key, tree in self._kept.items()
            ]

    def forget(self, ids: Collection[str]) -> tuple[list[str], int]:
        """Forget these contexts; return their ids and the bytes that frees.

        A build that uses one goes on with it, and only then is it gone.
        """
        gone: list[str] = []
        freed = 0
        with self._lock:
            for key, tree in list(self._kept.items()):
                if _id(key) in ids:
                    gone.append(_id(key))
                    freed += tree.disk_bytes
                    self._release(self._kept.pop(key))
        return gone, freed

    def _keep(self, key: str, tree: KeptTree) -> None:
        tree.users += 1
        tree.used_ns = self._now_ns()
        old = self._kept.pop(key, None)
        tree.created_ns = tree.used_ns if old is None else old.created_ns
        if old is not None:
            self._release(old)
        if tree.size_bytes > _MOST_BYTES:
            self._release(tree)
            return
        self._kept[key] = tree
        total = sum(each.size_bytes for each in self._kept.values())
        for oldest in list(itertools.islice(self._kept, len(self._kept) - 1)):
            if len(self._kept) <= _MOST_CONTEXTS and total <= _MOST_BYTES:
                break
            gone = self._kept.pop(oldest)
            total -= gone.size_bytes
            self._release(gone)

    def _drop(self, pending: _Pending) -> None:
        if pending.base is not None:
            self._release(pending.base)

    def _release(self, tree: KeptTree) -> None:
        with self._lock:
            tree.users -= 1
            if tree.users:
                return
            for generation in tree.generations:
                generation.users -= 1
                if not generation.users:
                    generation.tree.close()


def _id(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _name(key: str) -> str:
    """Return ``HOST:FOLDER`` of a key as kedge's client makes it, ``HOST FOLDER INODE``."""
    host, _, rest = key.partition(" ")
    folder = rest.rpartition(" ")[0]
    return f"{host}:{folder}" if folder else key


def _unknown(listed: Sequence[Listed], base: KeptTree | None) -> list[int]:
    """Return the positions of the files whose content is not there."""
    known = base.files if base is not None else {}
    return [
        number
        for number, item in enumerate(listed)
        if item.kind == "f" and not _is_known(item, known.get(item.path))
    ]


def _is_known(item: Listed, found: _File | None) -> bool:
    return found is not None and found.item == item and found.generation is not None


def _merged(pending: _Pending, new: _Generation) -> dict[str, _File]:
    base = pending.base.files if pending.base is not None else {}
    files: dict[str, _File] = {}
    for item in pending.listed:
        known = base.get(item.path)
        if known is not None and known.item == item:
            files[item.path] = known
        elif item.kind != "f":
            files[item.path] = _File(item, _entry(item), None)
        else:
            # A file that vanished between the list and its turn is not there.
            brought = new.tree.entry(item.path)
            if brought is not None and brought.kind is Kind.REGULAR:
                files[item.path] = _File(item, brought, new)
    return files


def _entry(item: Listed) -> Entry:
    return Entry(
        item.path,
        _KINDS[item.kind],
        item.mode & 0o7777,
        mtime_ns=item.mtime_ns,
        link_target=item.link,
    )
