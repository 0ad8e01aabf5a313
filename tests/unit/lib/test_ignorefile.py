import os
import re
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.lib.ignorefile import (
    IgnoreMatcher,
    MatchKind,
    parse_ignore_file,
    try_parse_pattern,
)

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data"))
VECTORS = DATA / "vectors/ignorefile/patterns.json"

needs_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason=f"no test vectors at {VECTORS}")

T = TypeVar("T")
NAMES = st.text("ab.é", min_size=1, max_size=3).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.lists(st.sampled_from(["a", "b", "*", "**", "?", "a*", "[a-b]", "[^a]", "."]), min_size=1)
    .map("/".join)
    .flatmap(lambda text: st.sampled_from([text, f"!{text}", f"/{text}", f"{text}/"])),
    max_size=5,
)


class MatchRow(msgspec.Struct):
    patterns: list[str]
    path: str
    match: bool = False
    error: str | bool = False


class CompileRow(msgspec.Struct):
    pattern: str
    kind: str
    regexp: str | None


class CleanRow(msgspec.Struct):
    patterns: list[str]
    count: int | None = None
    has_exclusions: bool | None = None
    error: bool = False


class ReaderRow(msgspec.Struct):
    content: str
    expected: list[str]


class Vectors(msgspec.Struct):
    matches: list[MatchRow]
    glob: list[MatchRow]
    single: list[MatchRow]
    late_errors: list[MatchRow]
    compile: list[CompileRow]
    clean: list[CleanRow]
    reader: list[ReaderRow]


def vectors() -> Vectors:
    return msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)


@needs_vectors
def test_matches_as_upstream() -> None:
    data = vectors()
    for row in data.matches + data.glob + data.single:
        if row.error:
            with pytest.raises(InvalidParameterError):
                IgnoreMatcher(row.patterns).matches(row.path)
        else:
            assert IgnoreMatcher(row.patterns).matches(row.path) is row.match, row


@needs_vectors
def test_a_backward_range_fails_each_time_it_is_matched() -> None:
    for row in vectors().late_errors:
        matcher = IgnoreMatcher(row.patterns)
        for _ in range(2):
            with pytest.raises(InvalidParameterError, match=str(row.error)):
                matcher.matches(row.path)


@needs_vectors
def test_compiles_as_upstream() -> None:
    kinds = {
        "exact": MatchKind.EXACT,
        "prefix": MatchKind.PREFIX,
        "suffix": MatchKind.SUFFIX,
        "regexp": MatchKind.REGEX,
    }
    for row in vectors().compile:
        pattern = try_parse_pattern(row.pattern)
        assert pattern is not None
        assert pattern.kind is kinds[row.kind], row
        assert row.regexp in (None, pattern.regex)


@needs_vectors
def test_cleans_and_reads_as_upstream() -> None:
    data = vectors()
    for row in data.clean:
        if row.error:
            with pytest.raises(InvalidParameterError):
                IgnoreMatcher(row.patterns)
            continue
        matcher = IgnoreMatcher(row.patterns)
        assert row.count in (None, len(matcher.patterns))
        assert row.has_exclusions in (None, matcher.has_exceptions)
    for reader in data.reader:
        assert list(parse_ignore_file(reader.content)) == reader.expected


@given(PATTERNS, PATHS)
def test_a_walk_and_a_single_question_agree(patterns: list[str], path: str) -> None:
    matcher = IgnoreMatcher(patterns)
    state = matcher.root
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        state = matcher.below(state, "/".join(parts[:end]))
    assert state.matched is matcher.matches(path)


@given(PATTERNS, PATHS)
def test_shortcuts_mean_what_the_regular_expression_means(patterns: list[str], path: str) -> None:
    for text in patterns:
        pattern = try_parse_pattern(text)
        if pattern is not None and pattern.kind in (MatchKind.EXACT, MatchKind.PREFIX):
            assert pattern.match(path) == bool(re.fullmatch(pattern.regex, path, re.DOTALL))


def reason_of(pattern: str, path: str) -> str:
    try:
        IgnoreMatcher(parse_ignore_file(pattern)).matches(path)
    except InvalidParameterError as error:
        return str(error)
    return ""


@given(st.text(max_size=30), st.text(max_size=20))
def test_any_text_is_matched_or_refused(pattern: str, path: str) -> None:
    assert "\n" not in reason_of(pattern, path)


def test_later_lines_win_and_directories_cover_what_is_below() -> None:
    matcher = IgnoreMatcher(parse_ignore_file("# build output\ndist\n!dist/keep\n*.pyc\n"))
    assert matcher.matches("dist/app.js")
    assert not matcher.matches("dist/keep/a")
    assert matcher.matches("a.pyc")
    assert not matcher.matches("src/a.pyc")
