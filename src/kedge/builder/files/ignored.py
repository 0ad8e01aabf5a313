"""`IgnoredTree`: a build context without what its ignore file names."""

import posixpath
from typing import BinaryIO, Final

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.tree import Tree, join
from kedge.lib.ignorefile import IgnoreMatcher, MatchState

IGNORE_FILE: Final = ".dockerignore"


class IgnoredTree:
    """Another tree with the ignored paths left out.

    An ignored directory stays as long as an exception lets something below it through.
    """

    def __init__(self, tree: Tree, matcher: IgnoreMatcher) -> None:
        self._tree = tree
        self._matcher = matcher
        self._states: dict[str, MatchState] = {"": matcher.root}
        self._visible: dict[str, bool] = {"": True}

    @property
    def whole(self) -> Tree:
        """The tree with everything in it."""
        return self._tree

    @property
    def matcher(self) -> IgnoreMatcher:
        """The rules."""
        return self._matcher

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path`` unless it is ignored."""
        found = self._tree.entry(path)
        return found if found is not None and self._is_visible(path) else None

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory that are not ignored."""
        return tuple(name for name in self._tree.names(path) if self._is_visible(join(path, name)))

    def digest(self, path: str) -> str:
        """Return the digest of a file."""
        return self._tree.digest(path)

    def write_to(self, path: str, descriptor: int) -> None:
        """Write the content of a file to an open file."""
        self._tree.write_to(path, descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return self._tree.open(path)

    def look_again(self) -> None:
        """Decide anew what is visible, as the other tree shows more than before."""
        self._visible = {"": True}

    def rule_against(self, path: str) -> str:
        """Return the pattern that leaves out ``path``; empty where none does.

        It need not exist: a client may have kept at home what the file names.
        """
        if self._is_visible(path):
            return ""
        hits = zip(self._matcher.patterns, self._state(path).by_pattern, strict=True)
        rules = [pattern.text for pattern, is_hit in hits if is_hit and not pattern.is_exception]
        return rules[-1] if rules else ""

    def _state(self, path: str) -> MatchState:
        state = self._states.get(path)
        if state is None:
            parent = self._state(posixpath.dirname(path))
            state = self._states[path] = self._matcher.below(parent, path)
        return state

    def _is_visible(self, path: str) -> bool:
        known = self._visible
        visible = known.get(path)
        if visible is None:
            visible = not self._state(path).matched or self._has_exception_below(path)
            # Never what was seen before `look_again` into what is known after it.
            known[path] = visible
        return visible

    def _has_exception_below(self, path: str) -> bool:
        if not self._matcher.has_exceptions:
            return False
        found = self._tree.entry(path)
        if found is None or found.kind is not Kind.DIRECTORY:
            return False
        return any(self._is_visible(join(path, name)) for name in self._tree.names(path))
