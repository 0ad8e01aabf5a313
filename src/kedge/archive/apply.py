"""Apply a layer or a plain tar stream to a directory.

`apply_layer` knows whiteouts and verifies as it goes; `extract_tar` takes every name literally
and is for build contexts, ``docker cp`` and imports. Both leave all file-system work to
`kedge.archive.extract`.
"""

import os
import stat
from collections.abc import Callable, Sequence
from typing import BinaryIO, Literal, NamedTuple, assert_never

from kedge.archive.entry import Entry, Kind
from kedge.archive.extract import Content, Extractor
from kedge.archive.pump import Pump
from kedge.archive.reader import TarReader
from kedge.archive.removal import remove_tree
from kedge.archive.target import clean_path
from kedge.archive.whiteouts import (
    OPAQUE_NAME,
    RESERVED_PREFIX,
    WHITEOUT_PREFIX,
    make_opaque,
    make_whiteout,
)
from kedge.errdefs import InvalidParameterError

WhiteoutStyle = Literal["overlay", "remove"]
"""``overlay``: the directory is one layer of an overlay mount. ``remove``: it is the whole tree,
and what a layer deletes is deleted."""

ChangeEntry = Callable[[Entry], Entry | None]
"""Renames, re-owns or, with None, leaves out an entry on its way."""


class Applied(NamedTuple):
    """What a stream did."""

    diff_id: str
    """``sha256:`` of the whole uncompressed stream."""
    size_bytes: int
    """Sum of the sizes of the regular files in it."""
    entries: int
    stream_bytes: int
    notes: tuple[str, ...]
    """What the host could not keep, one line each."""


def apply_layer(
    stream: BinaryIO,
    target: str,
    *,
    whiteouts: WhiteoutStyle = "overlay",
    lower: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
    name: str = "layer",
) -> Applied:
    """Apply an uncompressed layer to ``target``; nothing outside it is ever written.

    The caller compares the returned diff_id with the expected one, and throws ``target`` away
    if it differs or if this raises.

    Args:
        stream: The layer; its ``read`` is called in another thread until this returns.
        target: Existing directory.
        whiteouts: What deletion markers become.
        lower: The layers below, top first, with ``overlay``: metadata of implied parents, hard
            links and links to directories are looked up there.
        on_progress: Called with the number of stream bytes consumed.
        name: What messages call the layer; its digest helps most.

    Raises:
        InvalidParameterError: The stream is no valid layer.
        DataLossError: It is truncated or damaged.
        SystemFailureError: The host cannot take it, such as a full disk.
    """
    for_overlay = whiteouts == "overlay"
    with (
        Pump(stream, on_progress=on_progress) as pump,
        Extractor(target, lower=lower, for_overlay=for_overlay, name=name) as extractor,
    ):
        reader = TarReader(pump.read_chunk, name=name)
        layer = _LayerApplier(extractor, whiteouts, name)
        for entry in reader:
            layer.add(entry, reader.content())
        reader.drain()
        extractor.finish()
        return _result(pump, extractor)


def extract_tar(
    stream: BinaryIO,
    target: str,
    *,
    directory: str = "",
    change: ChangeEntry | None = None,
    lower: Sequence[str] = (),
    keep_kinds: bool = False,
    on_progress: Callable[[int], None] | None = None,
    name: str = "archive",
) -> Applied:
    """Extract an uncompressed tar stream; names that look like whiteouts are plain files.

    Args:
        stream: The archive; its ``read`` is called in another thread until this returns.
        target: Existing directory, the root for every link; ``/proc/<pid>/root`` is fine.
        directory: Path in ``target`` to extract to, made if missing.
        change: Applied to every entry before anything else looks at it.
        lower: With it ``target`` is the top of an overlay mount that nobody uses now, such as a
            stopped container's, and parents are copied up from below.
        keep_kinds: Refuse to replace a directory by something else or the reverse.
        on_progress: Called with the number of stream bytes consumed.
        name: What messages call the archive.

    Raises:
        InvalidParameterError: The stream is no valid archive, or tries to leave ``target``.
        DataLossError: It is truncated.
        SystemFailureError: The host cannot take it.
    """
    with (
        Pump(stream, on_progress=on_progress) as pump,
        Extractor(
            target, lower=lower, for_overlay=bool(lower), keep_kinds=keep_kinds, name=name
        ) as extractor,
    ):
        reader = TarReader(pump.read_chunk, name=name)
        for entry in reader:
            changed = entry if change is None else change(entry)
            if changed is not None:
                extractor.add(_moved(changed, directory), reader.content())
        reader.drain()
        extractor.finish()
        return _result(pump, extractor)


def _moved(entry: Entry, directory: str) -> Entry:
    """Return ``entry`` as it stands below ``directory``, which it may not leave either."""
    if not directory:
        return entry
    if entry.kind is Kind.HARD_LINK:
        entry = entry._replace(link_target=f"{directory}/{clean_path(entry.link_target)}")
    return entry._replace(name=f"{directory}/{clean_path(entry.name)}")


def _result(pump: Pump, extractor: Extractor) -> Applied:
    return Applied(
        pump.digest,
        extractor.size_bytes,
        extractor.entries,
        pump.size_bytes,
        tuple(extractor.notes),
    )


class _LayerApplier:
    """Gives ``.wh.`` names their meaning on the way to the extractor."""

    def __init__(self, extractor: Extractor, style: WhiteoutStyle, name: str) -> None:
        self._extractor = extractor
        self._style: WhiteoutStyle = style
        self._name = name
        self._added: set[str] = set()
        """What this layer brought, and every directory that holds some of it."""

    def add(self, entry: Entry, content: Content) -> None:
        base = entry.name.rstrip("/").rpartition("/")[2]
        if not base.startswith(WHITEOUT_PREFIX):
            path = self._extractor.add(entry, content)
            if self._style == "remove":
                while path and path not in self._added:
                    self._added.add(path)
                    path = path.rpartition("/")[0]
            return
        try:
            parent = clean_path(entry.name).rpartition("/")[0]
            self._delete(parent, base)
        except OSError as error:
            raise self._extractor.failure(entry, error) from error
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{self._name}: {error}") from None

    def _delete(self, parent: str, base: str) -> None:
        if base == OPAQUE_NAME:
            self._hide_all(parent)
            return
        if base.startswith(RESERVED_PREFIX):
            return
        victim = base.removeprefix(WHITEOUT_PREFIX)
        if victim in ("", ".", ".."):
            raise InvalidParameterError(f"{parent}/{base}: a whiteout of no name")
        match self._style:
            case "overlay":
                self._whiteout(parent, victim)
            case "remove":
                self._remove(f"{parent}/{victim}" if parent else victim)
            case _:
                assert_never(self._style)
        return

    def _whiteout(self, parent: str, victim: str) -> None:
        merged = self._extractor.tree.merged
        if merged is not None and merged.lookup(parent) is None:
            return  # nothing below to delete, and the parent must not appear by this
        parent_fd = self._extractor.tree.directory(parent)
        try:
            make_whiteout(victim, dir_fd=parent_fd)
        except FileExistsError:
            # Whiteouts speak of the layers below only; what this layer brings stays.
            status = os.stat(victim, dir_fd=parent_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                path = f"{parent}/{victim}" if parent else victim
                make_opaque(self._extractor.tree.directory(path))

    def _hide_all(self, parent: str) -> None:
        match self._style:
            case "overlay":
                make_opaque(self._extractor.tree.directory(parent))
            case "remove":
                self._remove_children(parent)
            case _:
                assert_never(self._style)

    def _remove_children(self, parent: str) -> None:
        descriptor = self._extractor.tree.open_existing(parent)
        if descriptor is None:
            return
        try:
            names = os.listdir(descriptor)
        finally:
            os.close(descriptor)
        for name in names:
            self._remove(f"{parent}/{name}" if parent else name)

    def _remove(self, path: str) -> None:
        """Delete what the layers below left at ``path``, and keep what this one brought."""
        if path in self._added:
            self._remove_children(path)
            return
        parent, _, base = path.rpartition("/")
        descriptor = self._extractor.tree.open_existing(parent)
        if descriptor is None:
            return
        try:
            remove_tree(base, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        self._extractor.tree.forget()
