"""The reader of plain YAML says exactly what the whole parser says, or nothing."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.compose import yamlfile
from kedge.compose.failures import ComposeFileError
from kedge.compose.plainyaml import parse_documents, try_parse_plain
from kedge.lib.jsontypes import Json
from tests.unit.compose.vectors import rows

USUAL = """\
# A page and its store.
name: shop
services:
  web:
    image: "nginx:1.27"   # pinned
    command: ["nginx", '-g', daemon-off]
    ports:
    - "8080:80"
    - 127.0.0.1:9000:90/udp
    environment: {STORE: redis, DEBUG: , LEVEL: 3}
    depends_on:
      redis:
        condition: service_healthy
    volumes:
      - type: bind
        source: ./src
        target: /src
        read_only: true
      - data:/var/lib/data
    mem_limit: 1.5e3
  redis:
    image: redis:7
    healthcheck:
      test: [CMD, redis-cli, ping]
      interval: 1m30s
    ulimits: {}
    expose: []

volumes:
  data:
"""
_PIECES = (
    *("a: ", "b:", "on: ", "null: ", "c-d:", "- ", "-", "- - ", "x: y", "1", "-1", "0o17", "1.5"),
    *("true", "~", "a b", "a  b", '"q"', "'s'", '"', "'", "''", '"\\n"', "[a, b]", "[]", "{}"),
    *("{a: 1, b: }", "{a: 1,}", "[a,, b]", "[", "]", "{", "}", "{a:1}", "[- a]", "[a: b]"),
    *("# c", " # c", "a#b", "a: b: c", "http://h:80/x", "80:80", "&x", "*x", "!reset", "!t 1"),
    *("|", ">", "%Y", "@", "`", "---", "...", "? a", ": a", "?", ":", "a:", "<<: ", "=", "$A"),
    *("${A:-b}", "'a': 1", "a, b", "é", "\t", "\r", "\ufeff", "\x7f", "a :", "a : b", "::"),
)


def same(text: str) -> bool:
    """Whether the plain reader knew the text; then it says what the whole parser says."""
    plain = try_parse_plain(text, "f")
    if plain is None:
        return False
    whole = yamlfile.parse_documents(text, "f")
    assert [json.dumps(one.data) for one in plain] == [json.dumps(one.data) for one in whole]
    assert [one.marks for one in plain] == [one.marks for one in whole]
    assert [one.cleared for one in plain] == [one.cleared for one in whole]
    return True


def test_what_most_files_keep_to_is_known() -> None:
    assert same(USUAL)
    document = parse_documents(USUAL, "compose.yaml")[0]
    assert isinstance(document.data, dict)
    assert str(document.marks["services", "web", "volumes", 1]) == "compose.yaml:19:9"


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n  b\n", "a: &x 1\nb: *x\n", "a: b\n  c\n", "a: 'it''s'\n", "---\na: 1\n",
        "a: {b: {c: 1}}\n", "a:\n  - - b\n", "a:\n  -\n", "a: !reset null\n", "a: 1\na: 2\n",
        "1: 2\n", "a:\tb\n", "- a\n", "a: b: c\n", "a: [b\n", "", "a:\n    b: 1\n  c: 2\n",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_whole_parser(text: str) -> None:
    assert try_parse_plain(text, "f") is None


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def test_published_files_mean_the_same() -> None:
    texts = [
        text
        for table in ("reject", "normalize", "merge", "values")
        for row in rows(table)
        for text in _texts(row)
        if "\n" in text
    ]
    known = 0
    for text in texts:
        try:
            known += same(text)
        except ComposeFileError as error:
            pytest.fail(f"the plain reader takes what is refused: {error}\n{text}")
    assert known


def _line(indent: int, pieces: list[str], blanks: int) -> str:
    return " " * indent + "".join(pieces) + " " * blanks


_LINES: st.SearchStrategy[str] = st.builds(
    _line,
    st.integers(0, 5),
    st.lists(st.sampled_from(_PIECES), min_size=0, max_size=3),
    st.integers(0, 1),
)


@given(lines=st.lists(_LINES, max_size=8))
@settings(deadline=None, max_examples=400)
def test_no_text_means_something_else(lines: list[str]) -> None:
    same("\n".join(lines))


@given(at=st.integers(0, USUAL.count("\n") - 1), line=_LINES, cut=st.integers(0, 2))
@settings(deadline=None, max_examples=200)
def test_no_change_of_a_usual_file_is_misread(at: int, line: str, cut: int) -> None:
    lines: list[str] = [*USUAL.split("\n")]
    lines[at : at + cut] = [line]
    same("\n".join(lines))
