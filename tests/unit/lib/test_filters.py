import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters, format_filters, parse_filters


@pytest.mark.parametrize(
    "text",
    [
        '{"status": {"exited": true, "dead": true}}',
        '{"status": {"exited": true, "running": false, "dead": true}}',
        '{"status": ["exited", "dead"]}',
    ],
)
def test_both_shapes_mean_the_same(text: str) -> None:
    assert parse_filters(text) == Filters({"status": ["exited", "dead"]})


def test_python_values_are_taken() -> None:
    assert parse_filters('{"dangling": [true], "exited": [0]}') == Filters(
        {"dangling": ["true"], "exited": ["0"]}
    )


def test_nothing_filters_nothing() -> None:
    for text in ("", "{}", '{"a": []}', '{"a": {}}'):
        filters = parse_filters(text)
        assert not filters
        assert filters.matches_exactly("a", "x")
        assert filters.matches_pattern("a", "x")
        assert filters.matches_prefix("a", "x")
        assert filters.matches_labels({})


@pytest.mark.parametrize(
    "text", ["x", "[]", '"a"', '{"a": "b"}', '{"a": [{}]}', "[" * 100_000, '{"a": 1}']
)
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid filter"):
        parse_filters(text)


def test_unknown_keys_are_refused_with_docker_s_text() -> None:
    filters = Filters({"name": ["a"], "colour": ["red"]})
    with pytest.raises(InvalidParameterError, match=r"^invalid filter 'colour'$"):
        filters.check_keys({"name"})
    filters.check_keys(["name", "colour"])


def test_booleans() -> None:
    assert Filters({"dangling": ["true"]}).boolean("dangling", default=False)
    assert not Filters({"dangling": ["0"]}).boolean("dangling", default=True)
    assert Filters({}).boolean("dangling", default=True)
    for values in (["maybe"], ["true", "false"]):
        with pytest.raises(InvalidParameterError, match="invalid filter 'dangling=\\["):
            Filters({"dangling": values}).boolean("dangling", default=True)


def test_matching() -> None:
    filters = Filters({"name": ["^/we", "db["], "id": ["abc"], "status": ["exited"]})
    assert filters.matches_pattern("name", "/web")
    assert not filters.matches_pattern("name", "/my-web")
    assert filters.matches_pattern("name", "/db[1")
    assert filters.matches_prefix("id", "abcdef")
    assert not filters.matches_prefix("id", "xabc")
    assert filters.matches_exactly("status", "exited")
    assert not filters.matches_exactly("status", "running")


def test_labels_must_all_match() -> None:
    labels = {"app": "web", "tier": ""}
    assert Filters({"label": ["app", "app=web", "tier="]}).matches_labels(labels)
    assert not Filters({"label": ["app=db"]}).matches_labels(labels)
    assert not Filters({"label": ["app", "other"]}).matches_labels(labels)
    assert Filters({"label!": ["app=web"]}).excludes_labels(labels)
    assert not Filters({"label!": ["app=db", "other"]}).excludes_labels(labels)
    assert not Filters({}).excludes_labels(labels)


@given(st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3, unique=True)))
def test_formatting_is_the_inverse_of_parsing(values: dict[str, list[str]]) -> None:
    filters = Filters(values)
    assert parse_filters(format_filters(filters)) == filters
    assert parse_filters(json.dumps(values)) == filters
