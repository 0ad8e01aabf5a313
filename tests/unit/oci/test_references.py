import json
import os
import string
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import InvalidParameterError
from kedge.oci.references import (
    Reference,
    familiar_match,
    parse_any_reference,
    parse_canonical,
    parse_docker_reference,
    parse_name,
    parse_reference,
    parse_strict,
)

_REPO = Path(__file__).parents[3]
_DATA = Path(os.environ.get("KEDGE_SHARED_DATA", str(_REPO.parent / "shared/data")))
_VECTORS = _DATA / "vectors/references/image_names.json"

Row = dict[str, str | bool]


def vectors(section: str) -> list[Row]:
    if not _VECTORS.exists():
        pytest.skip(f"test vectors are not at {_VECTORS}")
    document = cast("dict[str, list[Row]]", json.loads(_VECTORS.read_text()))
    rows = document[section]
    assert rows
    return rows


def text(row: Row, key: str) -> str:
    return str(row.get(key, ""))


def test_strict_grammar() -> None:
    for row in vectors("parse"):
        source = text(row, "input")
        if source.startswith("validname@sha512:"):
            # Upstream's test binary does not link sha512; image-spec registers it.
            assert parse_strict(source).digest.startswith("sha512:")
        elif "error" in row:
            with pytest.raises(InvalidParameterError) as caught:
                parse_strict(source)
            assert str(caught.value) == row["error"], source
        else:
            parsed = parse_strict(source)
            found = (parsed.name, *parsed)
            assert found == tuple(
                text(row, key) for key in ("name", "domain", "path", "tag", "digest")
            )
            assert parsed.canonical() == source


def test_names_alone() -> None:
    for row in vectors("with_name"):
        if text(row, "input") == "test_com/foo":
            # An underscore cannot be in a host name, so the whole is a path.
            assert parse_name("test_com/foo") == Reference("", "test_com/foo")
            continue
        expected = Reference(text(row, "domain"), text(row, "path"))
        assert parse_name(text(row, "input")) == expected
    for row in vectors("with_name_errors"):
        with pytest.raises(InvalidParameterError) as caught:
            parse_name(text(row, "input"))
        assert str(caught.value) == row["error"]


def test_canonical_names() -> None:
    for row in vectors("parse_canonical_named"):
        source = text(row, "input")
        if "error" in row:
            with pytest.raises(InvalidParameterError) as caught:
                parse_canonical(source)
            assert str(caught.value) == row["error"]
        else:
            assert parse_canonical(source) == Reference(text(row, "domain"), text(row, "path"))


def test_joining() -> None:
    for row in vectors("with_tag"):
        base = parse_name(text(row, "name"))._replace(digest=text(row, "digest"))
        assert base.with_tag(text(row, "tag")).canonical() == row["combined"]
    for row in vectors("with_digest"):
        base = parse_name(text(row, "name"))._replace(tag=text(row, "tag"))
        assert base.with_digest(text(row, "digest")).canonical() == row["combined"]


def test_what_a_user_may_type() -> None:
    for row in vectors("normalize_accept"):
        source = text(row, "input")
        if row["ok"]:
            assert parse_reference(source).domain, source
        else:
            with pytest.raises(InvalidParameterError):
                parse_reference(source)


def test_docker_hub_defaults() -> None:
    for row in vectors("normalize_split") + vectors("normalize_info"):
        parsed = parse_reference(text(row, "input"))
        assert (parsed.domain, parsed.path) == (row["domain"], row["path"])
        if "familiar" in row:
            assert parsed.familiar() == row["familiar"]
            assert parsed.canonical() == row["canonical"]
    for row in vectors("normalize_tag_and_digest"):
        parsed = parse_reference(text(row, "input"))
        assert parsed.familiar() == row["familiar"]
        assert parsed.canonical() == row["canonical"]
    for row in vectors("normalize_docker_ref"):
        assert parse_docker_reference(text(row, "input")).canonical() == row["expected"]


def test_names_and_ids() -> None:
    for row in vectors("parse_any"):
        parsed = parse_any_reference(text(row, "input"))
        assert isinstance(parsed, str) == row["is_digest"]
        found = parsed if isinstance(parsed, str) else parsed.canonical()
        assert found == row["canonical"]


def build(operation: str, source: str, value: str) -> Reference:
    reference = parse_reference(source)
    if operation == "with_tag":
        return reference.with_tag(value)
    return reference.with_digest(value) if operation == "with_digest" else reference


def test_components_are_checked() -> None:
    for row in vectors("component_errors"):
        with pytest.raises(InvalidParameterError):
            build(text(row, "operation"), text(row, "input"), text(row, "value"))


def test_globs() -> None:
    for row in vectors("familiar_match"):
        reference = parse_reference(text(row, "reference"))
        pattern = text(row, "pattern")
        if row.get("error"):
            with pytest.raises(InvalidParameterError):
                familiar_match(pattern, reference)
        else:
            assert familiar_match(pattern, reference) == row["expected"], row


@pytest.mark.parametrize("pattern", ["[", "[]a]", "[a", "a\\", "[a-", "[^]", "[a-]"])
def test_broken_globs_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameterError, match="syntax error in pattern"):
        familiar_match(pattern, parse_reference("a"))


def test_docker_words_for_a_capital() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_reference("Foo")
    assert str(caught.value) == (
        "invalid reference format: repository name (library/Foo) must be lowercase"
    )


def test_an_endless_name_is_refused_at_once() -> None:
    with pytest.raises(InvalidParameterError, match="invalid reference format"):
        parse_strict("a-" * 1_000_000)


_COMPONENTS = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
_HOSTS = st.sampled_from(["", "docker.io", "localhost:5000", "example.com", "[::1]:5000", "Big"])
_TAGS = st.one_of(
    st.just(""), st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)
)


@given(
    _HOSTS, st.lists(_COMPONENTS, min_size=1, max_size=4), _TAGS, st.sampled_from(["", "ab" * 32])
)
def test_format_and_parse_are_inverse(
    host: str, components: list[str], tag: str, digest: str
) -> None:
    source = "/".join([host, *components] if host else components)
    source += f":{tag}" if tag else ""
    source += f"@sha256:{digest}" if digest else ""
    parsed = parse_reference(source)
    assert parse_reference(parsed.canonical()) == parsed
    assert parse_reference(parsed.familiar()) == parsed
