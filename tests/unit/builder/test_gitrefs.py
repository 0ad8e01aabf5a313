import os
from pathlib import Path

import msgspec
import pytest

from kedge.builder.gitrefs import format_git_ref, parse_git_ref, parse_git_url
from kedge.errdefs import InvalidParameterError

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("KEDGE_SHARED_DATA", REPOSITORY.parent / "shared/data"))
VECTORS = DATA / "vectors/dockerfile/git_refs.json"

pytestmark = pytest.mark.skipif(not VECTORS.is_file(), reason=f"no test vectors at {VECTORS}")


class RefRow(msgspec.Struct):
    ref: str
    expected: dict[str, str | bool] | None = None
    error: str | bool = False


class FormatRow(msgspec.Struct):
    ref: str
    keep_subdir: bool
    expected: str
    ok: bool


class FragmentVector(msgspec.Struct):
    ref: str
    subdir: str


class UrlVector(msgspec.Struct):
    scheme: str
    host: str
    path: str
    userinfo: str
    query: dict[str, list[str]] | None
    fragment: FragmentVector | None


class UrlRow(msgspec.Struct):
    url: str
    expected: UrlVector | None = None


class Vectors(msgspec.Struct):
    parse_git_ref: list[RefRow]
    fragment_format: list[FormatRow]
    parse_url: list[UrlRow]


def vectors() -> Vectors:
    return msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)


def test_references() -> None:
    for row in vectors().parse_git_ref:
        if row.expected is None:
            with pytest.raises(InvalidParameterError) as caught:
                parse_git_ref(row.ref)
            assert row.error is True or str(row.error) in str(caught.value), row
            continue
        found = parse_git_ref(row.ref)
        assert {name: getattr(found, name) for name in row.expected} == row.expected, row


def test_canonical_form() -> None:
    for row in vectors().fragment_format:
        found = format_git_ref(row.ref, keep_subdir=row.keep_subdir)
        assert found == (row.expected, row.ok), row


def test_urls() -> None:
    for row in vectors().parse_url:
        if row.expected is None:
            with pytest.raises(InvalidParameterError):
                parse_git_url(row.url)
            continue
        found = parse_git_url(row.url)
        fragment = found.fragment
        assert row.expected == UrlVector(
            scheme=found.scheme,
            host=found.host,
            path=found.path,
            userinfo=found.userinfo,
            query=found.query,
            fragment=FragmentVector(fragment.ref, fragment.subdir) if fragment else None,
        )


def test_an_unknown_query_names_the_nearest() -> None:
    with pytest.raises(InvalidParameterError, match=r"did you mean branch\?"):
        parse_git_ref("https://host/app.git?brnch=main")
