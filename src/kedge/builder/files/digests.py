"""The content digest of what a COPY takes: names, modes, owners, links and bytes, never times.

BuildKit hashes the same facts (``cache/contenthash``): two selections with equal digests make
equal layers, apart from time stamps.
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.selection import Selected
from kedge.builder.files.tree import Tree, join

Skips = Callable[[str], bool]
"""Whether ``--exclude`` leaves a path out; relative to the selected directory."""


class _Sink(Protocol):
    def update(self, data: bytes, /) -> None: ...


def selection_digest(tree: Tree, selected: Selected, skips: Skips) -> str:
    """Return ``sha256:…`` of one selected file or directory with everything below."""
    sink = hashlib.sha256(usedforsecurity=False)
    _add(sink, tree, selected.path, selected.excluded_from, skips)
    return f"sha256:{sink.hexdigest()}"


def _add(sink: _Sink, tree: Tree, path: str, name: str, skips: Skips) -> None:
    entry = tree.entry(path)
    if entry is None:
        return
    sink.update(_header(entry, name))
    if entry.kind is Kind.REGULAR:
        sink.update(tree.digest(path).encode())
    elif entry.kind is Kind.DIRECTORY:
        for child in tree.names(path):
            relative = join(name, child)
            if not skips(relative):
                _add(sink, tree, join(path, child), relative, skips)


def _header(entry: Entry, name: str) -> bytes:
    facts = (
        f"{name}\0{entry.kind}\0{entry.mode:o}\0{entry.uid}\0{entry.gid}\0{entry.size}"
        f"\0{entry.link_target}\0{entry.device[0]}:{entry.device[1]}\0"
    )
    data = facts.encode(errors="surrogateescape")
    for attribute in sorted(entry.xattrs):
        data += attribute.encode() + b"=" + entry.xattrs[attribute] + b"\0"
    return data + b"\n"
