"""COPY, ADD and WORKDIR: their sources, their share of the cache key, and how they are done."""

import functools
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kedge.archive.entry import Kind
from kedge.builder.files.copying import Copier, CopyRules
from kedge.builder.files.destination import Created, Destination
from kedge.builder.files.digests import remembered_digest, selection_digest
from kedge.builder.files.modes import check_mode
from kedge.builder.files.selection import Selected, has_wildcard, select
from kedge.builder.files.tar import try_read_archive
from kedge.builder.files.tree import MemoryTree, Tree, clip, resolve
from kedge.builder.files.users import find_owner, names_digests
from kedge.builder.operations import CopyOperation, MakeDirectory, RemoteSource
from kedge.builder.remote.fetching import Remote, remote_fact, remote_tree
from kedge.errdefs import InvalidParameterError
from kedge.lib.ignorefile import IgnoreMatcher
from kedge.lib.jsontypes import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What time stamps a step gives."""

    now_ns: int
    epoch_ns: int | None
    """SOURCE_DATE_EPOCH, for every file; None keeps those of the sources."""

    @property
    def created_ns(self) -> int:
        """For what has no source."""
        return self.now_ns if self.epoch_ns is None else self.epoch_ns


class CopyStep:
    """One COPY or ADD: what it takes is settled when it is made, what it does comes later."""

    def __init__(
        self,
        operation: CopyOperation,
        source: Tree,
        below: Tree,
        remotes: Sequence[tuple[RemoteSource, Remote]] = (),
    ) -> None:
        """Find what ``operation`` takes.

        Args:
            operation: The expanded instruction.
            source: Where its sources are.
            below: The file system it copies into.
            remotes: What it fetches.

        Raises:
            NotFoundError: A source is missing.
            InvalidParameterError: A pattern or mode is malformed, or several files meet in one.
        """
        if operation.mode:
            check_mode(operation.mode)
        self._operation = operation
        self._source = source
        self._below = below
        self._remotes = remotes
        self._excluded = IgnoreMatcher(operation.exclude)
        found = select(
            source,
            operation.sources,
            instruction=operation.instruction,
            keeps_parents=operation.keeps_parents,
        )
        self._selected = [each for each in found if each.is_directory or not self._skips(each.name)]
        self._check_destination()

    def inputs(self) -> list[Json]:
        """Return the digests of everything that decides the result, for the cache key."""
        operation = self._operation
        found: list[Json] = []
        for each in self._selected:
            name = "" if each.is_directory and not operation.keeps_parents else each.name
            digest = remembered_digest(
                self._source,
                each,
                self._excluded,
                functools.partial(selection_digest, self._source, each, self._skips),
            )
            found.append(_fact(name, digest))
        inline = MemoryTree(self._inline())
        found.extend(_fact(name, inline.digest(name)) for name in inline.names(""))
        found.extend(remote_fact(source, remote) for source, remote in self._remotes)
        if operation.owner:
            found += names_digests(operation.owner, self._below)
        return found

    def apply(
        self, destination: Destination, times: Times, scratch: str, check: Callable[[], None]
    ) -> None:
        """Copy everything to ``destination``.

        Args:
            destination: The new layer.
            times: Which time stamps to give.
            scratch: Directory for the content of archives.
            check: Called for each file; raises when the build is cancelled.
        """
        operation = self._operation
        owner = find_owner(operation.owner, self._below) if operation.owner else None
        rules = CopyRules(
            owner=owner, mode=operation.mode, epoch_ns=times.epoch_ns, now_ns=times.now_ns
        )
        copier = Copier(
            destination,
            operation.destination,
            into_directory=operation.into_directory,
            rules=rules,
            check=check,
        )
        for each in self._selected:
            if not (operation.unpacks and _unpack(copier, self._source, each, scratch)):
                copier.copy(self._source, each, self._skips)
        for source, remote in self._remotes:
            tree = remote_tree(remote)
            whole = Selected(path="", name="", is_directory=True)
            file = Selected(path=source.name, name=source.name, is_directory=False)
            each = whole if source.is_git else file
            if not (operation.unpacks_remotes and _unpack(copier, tree, each, scratch)):
                copier.copy(tree, each, self._skips)
        inline = MemoryTree(self._inline(), mtime_ns=times.created_ns)
        for name in inline.names(""):
            copier.copy(inline, Selected(path=name, name=name, is_directory=False), self._skips)

    def _inline(self) -> dict[str, bytes]:
        return {
            file.name: file.content.encode(errors="surrogateescape")
            for file in self._operation.files
        }

    def _skips(self, path: str) -> bool:
        return self._excluded.matches(path)

    def _check_destination(self) -> None:
        """Refuse to copy several things to one file, which would keep only the last."""
        operation = self._operation
        count = len(self._selected) + len(operation.files) + len(self._remotes)
        several = count > 1 or any(has_wildcard(source) for source in operation.sources)
        if not several or operation.into_directory or operation.keeps_parents:
            return
        if count == 1 or self._is_directory_below():
            return
        if count:
            raise InvalidParameterError(
                f"When using {operation.instruction} with more than one source file, the "
                "destination must be a directory and end with a /"
            )

    def _is_directory_below(self) -> bool:
        found = self._below.entry(resolve(self._below, clip(self._operation.destination)))
        return found is not None and found.kind is Kind.DIRECTORY


def _unpack(copier: Copier, tree: Tree, selected: Selected, scratch: str) -> bool:
    """Unpack a file that is an archive, and say whether it was one."""
    found = tree.entry(selected.path)
    if found is None or found.kind is not Kind.REGULAR:
        return False
    with tree.open(selected.path) as stream:
        archive = try_read_archive(stream, scratch=scratch, name=selected.path)
    if archive is None:
        return False
    with archive:
        copier.unpack(archive)
    return True


def _fact(name: str, digest: str) -> Json:
    return {"name": name, "digest": digest}


def directory_exists(path: str, below: Tree) -> bool:
    """Say whether WORKDIR has nothing to make.

    Raises:
        InvalidParameterError: Something that is no directory is there.
    """
    found = below.entry(resolve(below, clip(path)))
    if found is not None and found.kind is not Kind.DIRECTORY:
        raise InvalidParameterError(f"cannot use {path} as working directory: it is no directory")
    return found is not None


def make_directory(
    operation: MakeDirectory, destination: Destination, below: Tree, times: Times
) -> None:
    """Make a working directory, its parents too, for the user that stands."""
    uid, gid = find_owner(operation.owner, below) if operation.owner else (0, 0)
    path = destination.resolve(clip(operation.path))
    destination.ensure_directory(posixpath.dirname(path), Created(mtime_ns=times.created_ns))
    destination.ensure_directory(path, Created(uid=uid, gid=gid, mtime_ns=times.created_ns))
