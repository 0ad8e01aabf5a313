"""What differs between two trees: the answer of ``docker diff`` and the layer of a plain copy.

Kinds and order are Docker's. A directory counts as modified when anything in it changed.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import IntEnum
from typing import NamedTuple

from kedge.archive.layered import LayerStack, Node
from kedge.archive.members import Inodes, read_member
from kedge.archive.whiteouts import WHITEOUT_PREFIX, is_opaque, is_whiteout
from kedge.archive.writer import (
    ChangeEntry,
    TarWriter,
    Writable,
    Written,
    deletion_marker,
    whole_seconds,
)


class ChangeKind(IntEnum):
    """The numbers of the Engine API's ContainerChanges."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    """One changed path."""

    path: str
    """Absolute."""
    kind: ChangeKind


def overlay_changes(
    upper: str, lower: Sequence[str], *, stubs: frozenset[str] = frozenset()
) -> list[Change]:
    """Return what an overlay upper directory changes in the layers below, ordered by path.

    Args:
        upper: The directory that takes the writes.
        lower: The layers below it, top first.
        stubs: Paths that are passed over while they are new and empty: something was mounted there.
    """
    kinds: dict[str, ChangeKind] = {}
    with ExitStack() as opened:
        stack = opened.enter_context(LayerStack((upper,)))
        below = opened.enter_context(LayerStack(lower)) if lower else None
        for found in stack.walk(stack.require(""), keep_whiteouts=True):
            old = None if below is None else below.lookup(found.path, follow=False)
            kind = _kind_of(found.status, old)
            is_passed_over = (
                kind is ChangeKind.ADDED and found.path in stubs and _is_stub(found.status)
            )
            if kind is not None and not is_passed_over:
                kinds[found.path] = kind
            if below is None or old is None or kind is ChangeKind.DELETED:
                continue
            is_merged = stat.S_ISDIR(found.status.st_mode) and old.is_directory
            if is_merged and is_opaque(os.path.join(upper, found.path)):
                for child in below.list_directory(old):
                    if stack.lookup(child.path, follow=False) is None:
                        kinds[child.path] = ChangeKind.DELETED
    return _ordered(kinds)


def tree_changes(
    old: LayerStack, new: LayerStack, *, stubs: frozenset[str] = frozenset()
) -> list[Change]:
    """Return how one tree became another, ordered by path, judged by metadata, not by content.

    Args:
        old: What it was.
        new: What it is.
        stubs: As for `overlay_changes`.
    """
    kinds: dict[str, ChangeKind] = {}
    pending: list[tuple[Node | None, Node | None]] = [(old.require(""), new.require(""))]
    while pending:
        before, after = pending.pop()
        earlier = _children(old, before)
        later = _children(new, after)
        for name in earlier.keys() - later.keys():
            kinds[earlier[name].path] = ChangeKind.DELETED
        for name, node in later.items():
            previous = earlier.get(name)
            if previous is None:
                if not (node.path in stubs and _is_stub(node.status)):
                    kinds[node.path] = ChangeKind.ADDED
            elif not _same(old, previous, new, node):
                kinds[node.path] = ChangeKind.MODIFIED
            if node.is_directory:
                pending.append((previous, node))
    return _ordered(kinds)


def write_changes(
    new: LayerStack,
    changes: Sequence[Change],
    out: Writable,
    *,
    change: ChangeEntry | None = None,
) -> Written:
    """Write the layer that makes ``changes``, whose content is taken from ``new``."""
    writer = TarWriter(out)
    inodes: Inodes = {}
    for path, kind in changes:
        name = path.lstrip("/")
        if kind is ChangeKind.DELETED:
            parent, slash, base = name.rpartition("/")
            marker = deletion_marker(f"{parent}{slash}{WHITEOUT_PREFIX}{base}")
            changed = marker if change is None else change(marker)
            if changed is not None:
                writer.add(changed)
            continue
        for member in read_member(new, new.require(name, follow=False), name, inodes):
            entry = whole_seconds(member.entry)
            changed = entry if change is None else change(entry)
            if changed is not None:
                writer.add(changed, member.content)
    return writer.finish()


def _children(stack: LayerStack, node: Node | None) -> dict[str, Node]:
    if node is None or not node.is_directory:
        return {}
    return {child.path.rpartition("/")[2]: child for child in stack.list_directory(node)}


def _kind_of(status: os.stat_result, old: Node | None) -> ChangeKind | None:
    """Return what an inode of the upper directory does to ``old``; None if it only holds others."""
    if is_whiteout(status):
        return None if old is None else ChangeKind.DELETED
    if old is None:
        return ChangeKind.ADDED
    is_directory = stat.S_ISDIR(status.st_mode)
    if is_directory and old.is_directory and _same_metadata(status, old.status):
        return None
    return ChangeKind.MODIFIED


def _is_stub(status: os.stat_result) -> bool:
    """Tell whether an inode has nothing of its own; what is in a directory counts by itself."""
    return stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not status.st_size)


def _same_metadata(first: os.stat_result, second: os.stat_result) -> bool:
    return (first.st_mode, first.st_uid, first.st_gid, first.st_rdev) == (
        second.st_mode,
        second.st_uid,
        second.st_gid,
        second.st_rdev,
    )


def _same(old: LayerStack, before: Node, new: LayerStack, after: Node) -> bool:
    if not _same_metadata(before.status, after.status):
        return False
    if after.is_directory:
        return True
    if after.is_link:
        return old.read_link(before) == new.read_link(after)
    return (before.status.st_size, before.status.st_mtime_ns) == (
        after.status.st_size,
        after.status.st_mtime_ns,
    )


def _ordered(kinds: dict[str, ChangeKind]) -> list[Change]:
    """Return the changes in order, with every directory above one as modified."""
    for path in list(kinds):
        for parent in _parents(path):
            kinds.setdefault(parent, ChangeKind.MODIFIED)
    return [Change(f"/{path}", kinds[path]) for path in sorted(kinds)]


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
