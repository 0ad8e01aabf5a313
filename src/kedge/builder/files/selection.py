"""Which files a COPY or ADD takes: sources with wildcards to paths of a tree.

``*``, ``?`` and ``[...]`` match inside one name, as Go's ``filepath.Match``; a source cannot leave
the tree and a link it names is followed inside. What matches no wildcard is no error; what is
named plainly must be there.
"""

import difflib
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kedge.archive.entry import Kind
from kedge.builder.files.followed import EVERYTHING, follow
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.tree import Tree, clip, join, resolve
from kedge.errdefs import NotFoundError
from kedge.lib.ignorefile import Pattern, check_glob

_WILDCARDS: Final = frozenset("*?[\\")
_PIVOT: Final = "/./"
_STARS: Final = re.compile(r"\*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One file or directory to copy."""

    path: str
    """Where it is in the tree, links followed."""
    name: str
    """What it is called at the destination when that is a directory; with ``--parents`` a path."""
    is_directory: bool
    keeps_parents: bool = False
    """``--parents``: the name is a path, and what is excluded is named by it too."""

    @property
    def excluded_from(self) -> str:
        """The path that patterns of ``--exclude`` start from, in front of what is below."""
        return self.name if self.keeps_parents else ""


def has_wildcard(source: str) -> bool:
    """Say whether ``source`` is a pattern."""
    return not _WILDCARDS.isdisjoint(source)


def select(
    tree: Tree, sources: Iterable[str], *, instruction: str, keeps_parents: bool = False
) -> list[Selected]:
    """Return what ``sources`` name in ``tree``, in order; wildcard matches sorted.

    Args:
        tree: Where to look.
        sources: Paths and patterns, as the Dockerfile has them.
        instruction: ``COPY`` or ``ADD``, for messages.
        keeps_parents: ``--parents``: names keep their folders, and ``**`` is any depth.

    Raises:
        NotFoundError: A source without wildcard is not there.
        InvalidParameterError: A pattern is malformed.
    """
    found: list[Selected] = []
    for source in sources:
        paths = (
            _matches(tree, source, keeps_parents=keeps_parents)
            if has_wildcard(source)
            else [clip(source)]
        )
        for path in paths:
            real = resolve(tree, path)
            entry = tree.entry(real)
            if entry is None:
                raise NotFoundError(_missing(tree, source, path, instruction))
            found.append(
                Selected(
                    path=real,
                    name=_pivoted(source, path) if keeps_parents else posixpath.basename(path),
                    is_directory=entry.kind is Kind.DIRECTORY,
                    keeps_parents=keeps_parents,
                )
            )
    return found


def _pivoted(source: str, path: str) -> str:
    """Return the part of ``path`` that ``--parents`` keeps: all, or what follows ``/./``."""
    head, pivot, _ = source.partition(_PIVOT)
    if not pivot:
        return path
    skipped = len([part for part in clip(head).split("/") if part])
    return "/".join(path.split("/")[skipped:])


def _missing(tree: Tree, source: str, path: str, instruction: str) -> str:
    message = (
        f"{instruction} failed: file not found in build context or excluded by .dockerignore: "
        f"stat {source}: file does not exist"
    )
    rule = tree.rule_against(path) if isinstance(tree, IgnoredTree) else ""
    if rule:
        return f"{message} (the ignore file leaves it out: {rule})"
    follow(tree, (EVERYTHING,))
    parent = resolve(tree, posixpath.dirname(path))
    names = tree.names(parent) if _is_directory(tree, parent) else ()
    near = difflib.get_close_matches(posixpath.basename(path), names, n=1)
    return f"{message} (did you mean {join(parent, near[0])}?)" if near else message


def _is_directory(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return entry is not None and entry.kind is Kind.DIRECTORY


def _matches(tree: Tree, source: str, *, keeps_parents: bool) -> list[str]:
    paths = [""]
    for part in clip(source).split("/"):
        if part == "**" and keeps_parents:
            paths = [below for path in paths for below in _all_below(tree, path)]
        else:
            paths = [match for path in paths for match in _expand(tree, path, part)]
    return paths


def _expand(tree: Tree, directory: str, part: str) -> list[str]:
    if not has_wildcard(part):
        return [join(directory, part)] if tree.entry(join(directory, part)) else []
    real = resolve(tree, directory)
    if not _is_directory(tree, real):
        return []
    check_glob(part)
    # Inside one name two stars mean what one means.
    pattern = Pattern(_STARS.sub("*", part))
    return [join(directory, name) for name in tree.names(real) if pattern.match(name)]


def _all_below(tree: Tree, directory: str) -> list[str]:
    found = [directory]
    for name in tree.names(directory):
        path = join(directory, name)
        if _is_directory(tree, path):
            found += _all_below(tree, path)
    return found
