"""``kedge build --explain-context``: what would be sent, and which line keeps the rest at home.

The walk is the one of the context itself; sizes are those of regular files. Nothing is sent and
nothing is built.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from kedge.cli.buildcontext import check_folder, ignore_file_of, load_matcher
from kedge.lib.ignorefile import IgnoreMatcher, MatchState
from kedge.lib.spaces import SPACES
from kedge.lib.units import format_size

_LISTED: Final = 10


class Sent(NamedTuple):
    """A file of the context."""

    path: str
    size_bytes: int


class LeftOut(NamedTuple):
    """A file or folder that is not sent, with everything below it."""

    path: str
    rule: str
    """The pattern as the ignore file has it."""
    line: int
    files: int
    size_bytes: int


class ContextReport(NamedTuple):
    """What becomes of a folder."""

    sent: list[Sent]
    left_out: list[LeftOut]
    ignore_file: str
    unused: list[tuple[int, str]]
    """Lines of the ignore file that match nothing."""


def explain_context(folder: str, dockerfile: str) -> ContextReport:
    """Walk through ``folder`` as a build does.

    Args:
        folder: The context.
        dockerfile: Path of the Dockerfile; empty for the one in the folder.

    Raises:
        KedgeError: The folder or its ignore file cannot be read.
    """
    check_folder(folder)
    ignore_file = ignore_file_of(folder, dockerfile or os.path.join(folder, "Dockerfile"))
    matcher = load_matcher(ignore_file)
    lines = _rule_lines(ignore_file)
    report = ContextReport([], [], os.path.basename(ignore_file), [])
    hits: set[int] = set()
    _walk(_Walk(folder, matcher, lines, report, hits), "", matcher.root)
    report.unused.extend(line for number, line in enumerate(lines) if number not in hits)
    return report


class _Walk(NamedTuple):
    folder: str
    matcher: IgnoreMatcher
    lines: Sequence[tuple[int, str]]
    report: ContextReport
    hits: set[int]


def _rule_lines(path: str) -> list[tuple[int, str]]:
    """Return number and text of the lines that hold a pattern, in the order of the patterns."""
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        text = file.read().removeprefix("\ufeff")
    return [
        (number, line.strip(SPACES))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip(SPACES) and not line.startswith("#")
    ]


def _walk(walk: _Walk, prefix: str, state: MatchState) -> None:
    for entry in _entries(os.path.join(walk.folder, prefix)):
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        below = walk.matcher.below(state, path)
        walk.hits.update(number for number, hit in enumerate(below.by_pattern) if hit)
        is_folder = entry.is_dir(follow_symlinks=False)
        if below.matched and not (is_folder and walk.matcher.has_exceptions):
            number = _rule(walk.matcher, below)
            line, rule = walk.lines[number]
            files, size = _total(os.path.join(walk.folder, path))
            walk.report.left_out.append(LeftOut(path, rule, line, files, size))
        elif is_folder:
            _walk(walk, path, below)
        else:
            walk.report.sent.append(Sent(path, _size(entry)))


def _entries(path: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        # The build itself says why it cannot be read.
        return []


def _rule(matcher: IgnoreMatcher, state: MatchState) -> int:
    """Return the number of the last pattern that leaves a path out."""
    hits = (
        number
        for number, (pattern, hit) in enumerate(
            zip(matcher.patterns, state.by_pattern, strict=True)
        )
        if hit and not pattern.is_exception
    )
    return max(hits)


def _size(entry: "os.DirEntry[str]") -> int:
    status = entry.stat(follow_symlinks=False)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _total(path: str) -> tuple[int, int]:
    """Return how many files there are at or below ``path``, and their size."""
    if not os.path.isdir(path) or os.path.islink(path):
        return 1, os.lstat(path).st_size
    files = size = 0
    for entry in _entries(path):
        if entry.is_dir(follow_symlinks=False):
            more, bytes_ = _total(entry.path)
            files, size = files + more, size + bytes_
        else:
            files, size = files + 1, size + _size(entry)
    return files, size


def describe(report: ContextReport) -> Iterator[str]:
    """Yield the lines that people read."""
    total = sum(each.size_bytes for each in report.sent)
    yield f"sent: {_files(len(report.sent))}, {format_size(total)}"
    largest = sorted(report.sent, key=lambda each: (-each.size_bytes, each.path))
    for sent in largest[:_LISTED]:
        yield f"  {format_size(sent.size_bytes):>9}  {sent.path}"
    if len(largest) > _LISTED:
        rest = sum(each.size_bytes for each in largest[_LISTED:])
        yield f"  {format_size(rest):>9}  in {_files(len(largest) - _LISTED)} more"
    count = sum(each.files for each in report.left_out)
    size = sum(each.size_bytes for each in report.left_out)
    yield f"left out: {_files(count)}, {format_size(size)}"
    heaviest = sorted(report.left_out, key=lambda each: (-each.size_bytes, each.path))
    for out in heaviest[:_LISTED]:
        why = f"({report.ignore_file} line {out.line}: {out.rule})"
        what = out.path if out.files == 1 else f"{out.path} and what is below, {_files(out.files)}"
        yield f"  {format_size(out.size_bytes):>9}  {what} {why}"
    if len(heaviest) > _LISTED:
        yield f"  {'':>9}  and {len(heaviest) - _LISTED} more"
    for number, rule in report.unused:
        yield f"{report.ignore_file} line {number} matches nothing: {rule}"


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"
