"""`LayersTree`: an image's or a stage's file system as a tree, read without mounting it.

`kedge.archive.layered` knows what overlayfs would show; this remembers what it found, because
committed layers never change.
"""

import io
from typing import BinaryIO, Self

from kedge.archive.entry import Entry, Kind
from kedge.archive.layered import LayerStack, Node
from kedge.archive.xattrs import read_xattrs
from kedge.builder.files.directory import DigestMemo, kind_of, plain_entry
from kedge.builder.files.tree import copy_stream
from kedge.errdefs import NotFoundError


class LayersTree:
    """The merged view of layer directories; owners and attributes are kept. Close it after use."""

    def __init__(self, stack: LayerStack | None, memo: DigestMemo) -> None:
        """Take over ``stack``; None is an empty tree."""
        self._stack = stack
        self._memo = memo
        self._children: dict[str, dict[str, Node]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the layer directories."""
        if self._stack is not None:
            self._stack.close()

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        node = self._node(path)
        if node is None or self._stack is None:
            return None
        entry = plain_entry(path, node.status)
        if entry is None:
            return None
        if entry.kind is Kind.SYMLINK:
            return entry._replace(link_target=self._stack.read_link(node))
        return entry._replace(xattrs=read_xattrs(self._stack.real_path(node)))

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, hidden ones left out."""
        return tuple(self._listing(path))

    def digest(self, path: str) -> str:
        """Return the digest of a file, read once in the life of the engine."""
        with self._open(path) as stream:
            return self._memo.digest(stream)

    def write_to(self, path: str, descriptor: int) -> None:
        """Copy the content of a file inside the kernel."""
        with self._open(path) as stream:
            copy_stream(stream, descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return io.BufferedReader(self._open(path))

    def _open(self, path: str) -> io.FileIO:
        node = self._node(path)
        if node is None or self._stack is None:
            raise NotFoundError(f"no such file in the image: /{path}")
        return io.FileIO(self._stack.open_file(node))

    def _node(self, path: str) -> Node | None:
        if self._stack is None:
            return None
        if not path:
            return self._stack.lookup("")
        parent, _, name = path.rpartition("/")
        return self._listing(parent).get(name)

    def _listing(self, path: str) -> dict[str, Node]:
        known = self._children.get(path)
        if known is None:
            node = self._node(path)
            known = {}
            if (
                node is not None
                and self._stack is not None
                and kind_of(node.status) is Kind.DIRECTORY
            ):
                children = self._stack.list_directory(node)
                known = {child.path.rpartition("/")[2]: child for child in children}
            self._children[path] = known
        return known
