"""The content digest of what a COPY takes: names, modes, owners, links and bytes, never times.

BuildKit hashes the same facts (``cache/contenthash``): two selections with equal digests make
equal layers, apart from time stamps.
"""

import hashlib
from collections.abc import Callable, MutableMapping
from typing import Protocol, TypeAlias, runtime_checkable

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.selection import Selected
from kedge.builder.files.tree import Tree, join
from kedge.lib.ignorefile import IgnoreMatcher

Skips = Callable[[str], bool]
"""Whether ``--exclude`` leaves a path out; relative to the selected directory."""


Selections: TypeAlias = MutableMapping[tuple[Selected, tuple[str, ...], tuple[str, ...]], str]
"""Digests by what was selected, what the ignore file leaves out, and what ``--exclude`` does."""


@runtime_checkable
class _Lasting(Protocol):
    """A tree that never changes and is there for several builds."""

    @property
    def selections(self) -> Selections: ...


def remembered_digest(
    tree: Tree, selected: Selected, excluded: IgnoreMatcher, compute: Callable[[], str]
) -> str:
    """Return what ``compute`` returns for a selection, or did for the same tree before."""
    ignored: tuple[str, ...] = ()
    if isinstance(tree, IgnoredTree):
        ignored, tree = tree.matcher.texts, tree.whole
    if not isinstance(tree, _Lasting):
        return compute()
    key = (selected, ignored, excluded.texts)
    found = tree.selections.get(key)
    if found is None:
        found = tree.selections[key] = compute()
    return found


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
