"""The quick JSON says what the standard library's says, also about what is none."""

import json
import math
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.lib import quickjson
from kedge.lib.jsontypes import Json

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS)
def test_both_ways_are_the_standard_librarys(document: Json) -> None:
    assert quickjson.encode(document) == json.dumps(document).encode()
    assert quickjson.decode(quickjson.encode(document)) == document
    unescaped = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    assert quickjson.decode(unescaped) == document


@given(st.text())
def test_a_quoted_text_is_the_standard_librarys(text: str) -> None:
    assert quickjson.quote(text) == json.dumps(text, ensure_ascii=False)


def test_blanks_around_a_document_do_not_matter() -> None:
    assert quickjson.decode(b' \r\n\t{"a": [1, 2.5, "\\u00e9"]}\n ') == {"a": [1, 2.5, "é"]}
    assert quickjson.decode("\ufeff[1]".encode("utf-16-le")) == [1]
    infinite = quickjson.decode(b"[Infinity, -Infinity, NaN]")
    assert isinstance(infinite, list)
    assert infinite[:2] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"[1,]", b'{"a": 1} x', b'"\n"', b"nul", b'["\xff"]']
)
def test_what_is_no_json_fails_as_there(data: bytes) -> None:
    assert _failure_of(json.loads, data) == _failure_of(quickjson.decode, data) != ""


def _failure_of(decode: Callable[[bytes], object], data: bytes) -> str:
    try:
        decode(data)
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_it_fails_so_where_nobody_has_loaded_json() -> None:
    code = """
import sys
from kedge.lib import quickjson
assert "json" not in sys.modules
for data in (b'{"a" 1}', b'["', b"[1] 2"):
    try:
        quickjson.decode(data)
    except ValueError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done == [
        "JSONDecodeError Expecting ':' delimiter: line 1 column 6 (char 5)",
        "JSONDecodeError Unterminated string starting at: line 1 column 2 (char 1)",
        "JSONDecodeError Extra data: line 1 column 5 (char 4)",
    ]


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(TypeError, match="object is no JSON"):
        quickjson.encode([object()])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
