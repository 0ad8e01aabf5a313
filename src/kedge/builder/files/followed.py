"""`FollowedTree`: a client's folder, of which comes what steps ask for and nothing else.

A step says which sources it is about to select (`follow`); whoever holds the files is asked for
these, for what they lead to, and for what was asked for before. What a Dockerfile plainly names is
expected from the beginning, so that one transfer does for most builds.
"""

import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO, Final

from kedge.archive.entry import Entry
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.tree import Tree, clip

EVERYTHING: Final = ""


def followed_path(source: str) -> str:
    """Return the path or pattern that stands for a source of COPY; empty for everything.

    Names may hold ``*``, ``?`` and ``[...]``. What a client may understand in another way, ``**``
    and escapes, is cut off with all that follows.
    """
    parts: list[str] = []
    for part in clip(source).split("/"):
        if "**" in part or "\\" in part:
            break
        parts.append(part)
    return "/".join(parts)


class FollowedTree:
    """A tree of what has been asked for; thread-safe."""

    def __init__(self, receive: Callable[[tuple[str, ...]], Tree]) -> None:
        """Ask nobody yet.

        Args:
            receive: Gets the files of these paths, sorted, or all files for none, and returns the
                tree they are in; a later call names all paths of the calls before.
        """
        self._receive = receive
        self._lock = threading.RLock()
        self._paths: set[str] = set()
        self._expected: set[str] = set()
        self._tree: Tree | None = None

    def expect(self, sources: Iterable[str]) -> None:
        """Let these come with the first that are followed."""
        with self._lock:
            self._expected.update(followed_path(source) for source in sources)

    def follow(self, sources: Iterable[str]) -> bool:
        """Ensure that what ``sources`` select is here; return whether more came for it."""
        wanted = {followed_path(source) for source in sources}
        with self._lock:
            if EVERYTHING in self._paths or (self._tree is not None and wanted <= self._paths):
                return False
            paths = self._paths | self._expected | wanted
            self._tree = self._receive(() if EVERYTHING in paths else tuple(sorted(paths)))
            self._paths = paths
            return True

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        return self._files().entry(path)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory, as far as they were asked for."""
        return self._files().names(path)

    def digest(self, path: str) -> str:
        """Return the digest of a file."""
        return self._files().digest(path)

    def write_to(self, path: str, descriptor: int) -> None:
        """Write the content of a file to an open file."""
        self._files().write_to(path, descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return self._files().open(path)

    def _files(self) -> Tree:
        if self._tree is None:
            self.follow((EVERYTHING,))
        assert self._tree is not None
        return self._tree


def expect(tree: Tree | None, sources: Iterable[str]) -> None:
    """Say what will be selected from ``tree``, where that decides what comes."""
    inner = tree.whole if isinstance(tree, IgnoredTree) else tree
    if isinstance(inner, FollowedTree):
        inner.expect(sources)


def follow(tree: Tree, sources: Iterable[str]) -> None:
    """Ensure that what ``sources`` select from ``tree`` is there, where it comes when asked for."""
    inner = tree.whole if isinstance(tree, IgnoredTree) else tree
    if isinstance(inner, FollowedTree) and inner.follow(sources) and isinstance(tree, IgnoredTree):
        tree.look_again()
