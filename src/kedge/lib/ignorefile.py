"""``.dockerignore``: reading the file and matching paths, as moby/patternmatcher does.

The last matching line wins and ``!`` takes back. A pattern also matches everything below a
directory it matches. ``*`` and ``?`` stay inside one path element, ``**`` crosses them. Paths
are relative, with slashes, cleaned. Also the grammar of ``COPY --exclude``.
"""

import functools
import posixpath
import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.lib.spaces import SPACES

_BAD_PATTERN: Final = "syntax error in pattern"
_NEEDS_ESCAPE: Final = frozenset(".+()|{}$^]")
_CLASS_ESCAPE: Final = frozenset("\\]^-[&|~")


class MatchKind(Enum):
    """How a pattern is compared; all but `REGEX` are shortcuts."""

    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    REGEX = auto()


class Pattern:
    """One line of an ignore file; read-only."""

    def __init__(self, text: str, *, is_exception: bool = False) -> None:
        """Take one cleaned line, without its exclamation mark."""
        self.text = text
        self.is_exception = is_exception

    @functools.cached_property
    def kind(self) -> MatchKind:
        """How this pattern is compared."""
        return _compile(self.text)[0]

    @functools.cached_property
    def regex(self) -> str:
        """The regular expression that means the same."""
        return _compile(self.text)[1]

    @functools.cached_property
    def _compiled(self) -> "re.Pattern[str] | None":
        try:
            return re.compile(self.regex, re.DOTALL)
        except re.error:
            return None

    def match(self, path: str) -> bool:
        """Say whether ``path`` itself matches; directories above it are the caller's business.

        Raises:
            InvalidParameterError: The pattern has a character range that runs backwards.
        """
        if self.kind is MatchKind.EXACT:
            return path == self.text
        if self.kind is MatchKind.PREFIX:
            return path.startswith(self.text[:-2])
        if self.kind is MatchKind.SUFFIX:
            suffix = self.text[2:]
            return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
        if self._compiled is None:
            raise InvalidParameterError(_BAD_PATTERN)
        return self._compiled.fullmatch(path) is not None


class MatchState(NamedTuple):
    """The verdict on one path, and per pattern whether it or a directory above it matched."""

    matched: bool
    by_pattern: tuple[bool, ...]


class IgnoreMatcher:
    """The patterns of one ignore file, ready to match."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Clean and check ``patterns``.

        Raises:
            InvalidParameterError: A pattern is malformed, or is a lone exclamation mark.
        """
        found = (try_parse_pattern(text) for text in patterns)
        self.patterns = tuple(pattern for pattern in found if pattern is not None)
        self.has_exceptions = any(pattern.is_exception for pattern in self.patterns)
        self.texts = tuple(
            f"!{pattern.text}" if pattern.is_exception else pattern.text
            for pattern in self.patterns
        )
        """The cleaned patterns; equal ones match alike."""
        self.root = MatchState(matched=False, by_pattern=(False,) * len(self.patterns))
        """The state to start a walk with."""

    def matches(self, path: str) -> bool:
        """Say whether ``path`` is ignored, directly or through a directory above it."""
        if not self.patterns:
            return False
        cleaned = clean_path(path)
        if cleaned in (".", "/"):
            return cleaned == "/" and self.below(self.root, "/").matched
        state = self.root
        position = 0
        while position >= 0:
            position = cleaned.find("/", position + 1)
            state = self.below(state, cleaned if position < 0 else cleaned[:position])
        return state.matched

    def below(self, parent: MatchState, path: str) -> MatchState:
        """Return the verdict on ``path`` given the one on its directory: one step of a walk."""
        matched = False
        by_pattern: list[bool] = []
        for pattern, parent_matched in zip(self.patterns, parent.by_pattern, strict=True):
            hit = parent_matched or pattern.match(path)
            by_pattern.append(hit)
            if hit:
                matched = not pattern.is_exception
        return MatchState(matched=matched, by_pattern=tuple(by_pattern))


def clean_path(path: str) -> str:
    """Return ``path`` as Go's ``filepath.Clean`` does; two leading slashes become one."""
    cleaned = posixpath.normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def parse_ignore_file(text: str) -> tuple[str, ...]:
    """Return the patterns of an ignore file, cleaned, exceptions with their ``!``."""
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACES)
        if not pattern:
            continue
        mark = "!" if pattern.startswith("!") else ""
        pattern = pattern.removeprefix("!").strip(SPACES)
        if pattern:
            pattern = clean_path(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(mark + pattern)
    return tuple(patterns)


def try_parse_pattern(text: str) -> Pattern | None:
    """Return the pattern of one line, or None for a blank one.

    Raises:
        InvalidParameterError: It is malformed.
    """
    text = text.strip(SPACES)
    if not text:
        return None
    text = clean_path(text)
    is_exception = text.startswith("!")
    if is_exception:
        text = text[1:]
        if not text:
            raise InvalidParameterError('illegal exclusion pattern: "!"')
    check_glob(text)
    return Pattern(text, is_exception=is_exception)


def check_glob(pattern: str) -> None:
    """Make sure that ``pattern`` is one Go's ``filepath.Match`` accepts.

    Raises:
        InvalidParameterError: A bracket or an escape is not complete.
    """
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "[":
            position = _class_end(pattern, position)
        elif char == "\\":
            if position + 1 == len(pattern):
                raise InvalidParameterError(_BAD_PATTERN)
            position += 2
        else:
            position += 1


def _class_items(pattern: str, position: int) -> "tuple[bool, list[tuple[str, str]], int]":
    """Read ``[...]`` at ``position``: negated, ranges, where it ends."""
    position += 1
    negated = pattern.startswith("^", position)
    position += negated
    items: list[tuple[str, str]] = []
    while not (items and pattern.startswith("]", position)):
        low, position = _class_char(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_char(pattern, position + 1)
        items.append((low, high))
    return negated, items, position + 1


def _class_char(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char == "\\":
        position += 1
        char = pattern[position : position + 1]
    elif char in ("-", "]"):
        char = ""
    if not char or position + 1 == len(pattern):
        raise InvalidParameterError(_BAD_PATTERN)
    return char, position + 1


def _class_end(pattern: str, position: int) -> int:
    return _class_items(pattern, position)[2]


def _class_regex(pattern: str, position: int) -> tuple[str, int]:
    negated, items, end = _class_items(pattern, position)

    def quoted(char: str) -> str:
        return "\\" + char if char in _CLASS_ESCAPE else char

    ranges = (
        quoted(low) if low == high else f"{quoted(low)}-{quoted(high)}" for low, high in items
    )
    return f"[{'^' if negated else ''}{''.join(ranges)}]", end


def _compile(pattern: str) -> tuple[MatchKind, str]:
    kind = MatchKind.EXACT
    out = ["^"]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("**", position):
            kind, text, position = _double_star(pattern, position, kind)
        else:
            is_plain = char not in "*?[\\]"
            kind = kind if is_plain else MatchKind.REGEX
            text, position = _element(pattern, position)
        out.append(text)
    return kind, "".join(out) + "$"


def _element(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position]
    if char == "*":
        return "[^/]*", position + 1
    if char == "?":
        return "[^/]", position + 1
    if char == "[":
        return _class_regex(pattern, position)
    if char == "\\":
        return re.escape(pattern[position + 1 : position + 2]), position + 2
    return ("\\" + char if char in _NEEDS_ESCAPE else char), position + 1


def _double_star(pattern: str, position: int, kind: MatchKind) -> tuple[MatchKind, str, int]:
    end = position + 2
    if pattern.startswith("/", end):
        end += 1
    if position == 0:
        kind_here = MatchKind.SUFFIX
    elif end == len(pattern) and kind is MatchKind.EXACT:
        kind_here = MatchKind.PREFIX
    else:
        kind_here = MatchKind.REGEX
    return kind_here, ".*" if end == len(pattern) else "(.*/)?", end
