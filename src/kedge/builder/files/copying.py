"""COPY and ADD carried out: selected entries of a tree into a `Destination`.

A directory is copied by its contents; a file goes into the destination when that is or must be a
directory, and becomes it otherwise. Owners and modes are changed on the way. An archive is put
where the destination is with its own owners, as tar does.
"""

import functools
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.destination import Created, Destination
from kedge.builder.files.digests import Skips
from kedge.builder.files.modes import apply_mode
from kedge.builder.files.selection import Selected
from kedge.builder.files.tree import ROOT_ENTRY, Tree, clip, join
from kedge.errdefs import InvalidParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRules:
    """How entries change on their way."""

    owner: tuple[int, int] | None = None
    """None keeps the owner the tree gives."""
    mode: str = ""
    epoch_ns: int | None = None
    """Set as every time stamp; None keeps those of the sources."""
    now_ns: int = 0
    """For directories that nobody described."""

    def changed(self, entry: Entry) -> Entry:
        """Return ``entry`` as it shall arrive."""
        uid, gid = self.owner or (entry.uid, entry.gid)
        mode = apply_mode(self.mode, entry) if self.mode else entry.mode
        mtime_ns = entry.mtime_ns if self.epoch_ns is None else self.epoch_ns
        return entry._replace(uid=uid, gid=gid, mode=mode, mtime_ns=mtime_ns)

    @property
    def created(self) -> Created:
        """How missing parents are made."""
        uid, gid = self.owner or (0, 0)
        time_ns = self.now_ns if self.epoch_ns is None else self.epoch_ns
        return Created(uid=uid, gid=gid, mtime_ns=time_ns)


class Copier:
    """One COPY or ADD on its way into one destination."""

    def __init__(
        self,
        destination: Destination,
        target: str,
        *,
        into_directory: bool,
        rules: CopyRules,
        check: Callable[[], None],
    ) -> None:
        """Prepare to copy to the absolute path ``target``.

        Args:
            destination: The new layer.
            target: Path in the image; links in it are followed.
            into_directory: It must become a directory.
            rules: Changes on the way.
            check: Called for each file; raises when the build is cancelled.
        """
        self._destination = destination
        self._target = destination.resolve(clip(target))
        self._into_directory = into_directory
        self._rules = rules
        self._check = check

    def copy(self, tree: Tree, selected: Selected, skips: Skips) -> None:
        """Copy one selected file or directory of ``tree``, without what ``skips`` names.

        Raises:
            InvalidParameterError: Something in the way has the wrong type.
        """
        if selected.keeps_parents:
            self._copy_with_parents(tree, selected, skips)
        elif selected.is_directory:
            self._contents(tree, selected, self._target, skips)
        else:
            self._file(tree, selected, self._target)

    def unpack(self, archive: Tree) -> None:
        """Put the members of ``archive`` into the target, replacing what is in the way."""
        self._destination.ensure_directory(self._target, self._rules.created)
        self._below(archive, "", self._target, "", _nothing, replace=True)

    def _file(self, tree: Tree, selected: Selected, target: str) -> None:
        if self._into_directory or self._destination.is_directory(target):
            self._destination.ensure_directory(target, self._rules.created)
            self._put(tree, selected.path, join(target, selected.name), replace=False)
        elif not target:
            raise InvalidParameterError("cannot overwrite directory / with a file")
        else:
            parent = posixpath.dirname(target)
            self._destination.ensure_directory(parent, self._rules.created)
            self._put(tree, selected.path, target, replace=False)

    def _contents(self, tree: Tree, selected: Selected, target: str, skips: Skips) -> None:
        """Copy a directory's contents; its metadata only to a directory made for it."""
        entry = tree.entry(selected.path)
        if entry is None:
            return
        if target:
            parent = posixpath.dirname(target)
            self._destination.ensure_directory(parent, self._rules.created)
            changed = self._rules.changed(entry)
            self._destination.put_directory(target, changed, overwrite=False, replace=False)
        inside = selected.excluded_from
        self._below(tree, selected.path, target, inside, skips, replace=False)

    def _copy_with_parents(self, tree: Tree, selected: Selected, skips: Skips) -> None:
        """Copy to the source's own path below the target, its folders as they are there."""
        self._destination.ensure_directory(self._target, self._rules.created)
        parts = selected.name.split("/")
        depth = len(selected.path.split("/")) - len(parts)
        source = "/".join(selected.path.split("/")[:depth])
        target = self._target
        for part in parts[:-1]:
            source, target = join(source, part), join(target, part)
            entry = self._rules.changed(tree.entry(source) or ROOT_ENTRY)
            self._destination.put_directory(target, entry, overwrite=False, replace=False)
        target = join(target, parts[-1])
        if selected.is_directory:
            self._contents(tree, selected, target, skips)
        else:
            self._put(tree, selected.path, target, replace=False)

    def _below(
        self, tree: Tree, path: str, target: str, relative: str, skips: Skips, *, replace: bool
    ) -> None:
        for name in tree.names(path):
            source, goal = join(path, name), join(target, name)
            inside = join(relative, name)
            if skips(inside):
                continue
            entry = tree.entry(source)
            if entry is not None and entry.kind is Kind.DIRECTORY:
                changed = self._rules.changed(entry)
                self._destination.put_directory(goal, changed, overwrite=True, replace=replace)
                self._below(tree, source, goal, inside, skips, replace=replace)
            else:
                self._put(tree, source, goal, replace=replace)

    def _put(self, tree: Tree, source: str, goal: str, *, replace: bool) -> None:
        self._check()
        entry = tree.entry(source)
        if entry is not None:
            changed = self._rules.changed(entry)
            write = functools.partial(tree.write_to, source)
            self._destination.put(goal, changed, write, replace=replace)


def _nothing(_path: str) -> bool:
    return False
