"""The grammar of ``.env`` files, against the published tables."""

from typing import cast

import pytest

from kedge.compose.dotenv import expand, parse_dotenv, parse_raw_env, statement_start
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from tests.unit.compose.vectors import rows, texts


def _check(row: JsonObject, text: str) -> None:
    env = texts(row.get("env"))
    if row.get("error"):
        with pytest.raises(InvalidParameterError) as caught:
            parse_dotenv(text, env)
        if isinstance(row["error"], str):
            assert str(row["error"]) in str(caught.value)
        return
    found = parse_dotenv(text, env)
    if row.get("mode") == "load_into_environment":
        found = {**found, **env}
    if "equals" in row:
        assert found == texts(row["equals"])
    assert texts(row.get("contains")).items() <= found.items()
    for name in cast("list[str]", row.get("absent") or []):
        assert name not in found


@pytest.mark.parametrize("row", rows("dotenv", "strings"))
def test_texts(row: JsonObject) -> None:
    _check(row, str(row["input"]))


@pytest.mark.parametrize("row", rows("dotenv", "files"))
def test_files(row: JsonObject) -> None:
    _check(row, str(row["content"]))


@pytest.mark.parametrize("row", rows("dotenv", "statement_start"))
def test_statement_start(row: JsonObject) -> None:
    text = str(row["input"])
    assert text[statement_start(text) :] == row["rest"]


def test_expansion() -> None:
    table = cast("JsonObject", cast("object", rows("dotenv", "expansion")))
    env = texts(table["env"])
    for row in cast("list[JsonObject]", table["rows"]):
        if row.get("error"):
            with pytest.raises(InvalidParameterError) as caught:
                expand(str(row["input"]), {}, env)
            assert str(row["error"]) in str(caught.value)
        else:
            assert expand(str(row["input"]), {}, env) == row["expected"]


def test_later_files_see_earlier_ones() -> None:
    for row in rows("dotenv", "multiple_files"):
        found: dict[str, str] = {}
        for text in cast("list[str]", row["files"]):
            found |= parse_dotenv(text, texts(row["env"]), found)
        assert found == texts(row["equals"])


def test_raw_files_know_no_quotes() -> None:
    assert parse_raw_env("# c\nA='$B'\nC\n") == {"A": "'$B'", "C": None}
    with pytest.raises(InvalidParameterError):
        parse_raw_env("A B=1\n")
