"""`Tree`: files to copy from, wherever they are: context directory, tar, image layers, Dockerfile.

Paths are relative to the tree's root, with slashes, without ``.`` and ``..``; the root is the
empty path. A tree never follows a symbolic link by itself: `resolve` does that, inside the tree,
so a link can lead nowhere else. Entries describe; the ``name`` of an entry has no meaning here.
"""

import io
import os
import posixpath
from collections.abc import Mapping
from typing import BinaryIO, Final, Protocol

from kedge.archive.entry import Entry, Kind
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.oci.hashing import sha256_digest

MAX_LINKS: Final = 255
COPY_BYTES: Final = 1 << 20
ROOT_ENTRY: Final = Entry("", Kind.DIRECTORY, mode=0o755)


class Entries(Protocol):
    """What `resolve` asks of a tree."""

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``, or None; a link stands for itself."""
        ...


class Tree(Entries, Protocol):
    """A read-only tree of files."""

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in the directory ``path``, sorted."""
        ...

    def digest(self, path: str) -> str:
        """Return ``sha256:…`` of the content of the regular file ``path``."""
        ...

    def write_to(self, path: str, descriptor: int) -> None:
        """Write the content of the regular file ``path`` to an open, empty file."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open the regular file ``path`` for reading."""
        ...


def join(directory: str, name: str) -> str:
    """Return the path of ``name`` in ``directory``."""
    return f"{directory}/{name}" if directory else name


def clip(path: str) -> str:
    """Return ``path`` relative to the root, with ``..`` unable to leave it."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def resolve(tree: Entries, path: str, *, follow_last: bool = True) -> str:
    """Return the path ``path`` means once every symbolic link is followed inside ``tree``.

    The rest behind a name that does not exist is kept, so that a target to be created can be
    resolved too.

    Args:
        tree: Where links are looked up; ``..`` and absolute targets stay inside.
        path: Any path.
        follow_last: Also follow the last name.

    Raises:
        InvalidParameterError: The links go round in circles.
    """
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            del done[-1:]
            continue
        done.append(part)
        if not waiting and not follow_last:
            break
        found = tree.entry("/".join(done))
        if found is None or found.kind is not Kind.SYMLINK:
            continue
        links += 1
        if links > MAX_LINKS:
            raise InvalidParameterError(f"too many levels of symbolic links: {path}")
        if found.link_target.startswith("/"):
            done.clear()
        else:
            done.pop()
        waiting += [
            each for each in reversed(found.link_target.split("/")) if each not in ("", ".")
        ]
    return "/".join(done)


def read_text(tree: Tree, path: str) -> str | None:
    """Return the text of a small file, links followed; None where there is no such file."""
    real = resolve(tree, path)
    found = tree.entry(real)
    if found is None or found.kind is not Kind.REGULAR:
        return None
    with tree.open(real) as stream:
        return stream.read().decode(errors="surrogateescape")


def copy_stream(source: io.FileIO, descriptor: int) -> None:
    """Copy a whole file to an open one, inside the kernel."""
    offset = 0
    while sent := os.sendfile(descriptor, source.fileno(), offset, COPY_BYTES * 64):
        offset += sent


class MemoryTree:
    """Files that stand in a Dockerfile: one flat directory of small texts."""

    def __init__(self, files: Mapping[str, bytes], *, mtime_ns: int = 0) -> None:
        self._files = dict(files)
        self._mtime_ns = mtime_ns

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        if not path:
            return ROOT_ENTRY
        content = self._files.get(path)
        if content is None:
            return None
        size = len(content)
        return Entry(path, Kind.REGULAR, mode=0o644, size=size, mtime_ns=self._mtime_ns)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names of all files."""
        return tuple(sorted(self._files)) if not path else ()

    def digest(self, path: str) -> str:
        """Return the digest of a text."""
        return sha256_digest(self._content(path))

    def write_to(self, path: str, descriptor: int) -> None:
        """Write a text to an open file."""
        rest = memoryview(self._content(path))
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def open(self, path: str) -> BinaryIO:
        """Open a text for reading."""
        return io.BytesIO(self._content(path))

    def _content(self, path: str) -> bytes:
        content = self._files.get(path)
        if content is None:
            raise NotFoundError(f"no such file: {path}")
        return content


NO_FILES: Final = MemoryTree({})
"""A tree with nothing in it."""


class Subtree:
    """A directory of another tree as a tree of its own; links cannot lead out of it."""

    def __init__(self, tree: Tree, root: str) -> None:
        self._tree = tree
        self._root = root

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        return self._tree.entry(self._full(path))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        return self._tree.names(self._full(path))

    def digest(self, path: str) -> str:
        """Return the digest of a file."""
        return self._tree.digest(self._full(path))

    def write_to(self, path: str, descriptor: int) -> None:
        """Write the content of a file to an open file."""
        self._tree.write_to(self._full(path), descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return self._tree.open(self._full(path))

    def _full(self, path: str) -> str:
        return join(self._root, path) if path else self._root
