"""Stanzas and relationships of control data."""

import pytest

from kedge.errdefs import DataLossError
from kedge.images.bootstrap.control import (
    Alternative,
    parse_clauses,
    parse_fields,
    parse_package,
)
from tests.unit.images_bootstrap.mirror import stanza


def test_fields_continue_on_the_next_line() -> None:
    fields = parse_fields("Package: a\nDepends: b,\n c (>= 1)\n# note\nUris: http://x:80/y")
    assert fields == {"package": "a", "depends": "b,\nc (>= 1)", "uris": "http://x:80/y"}


def test_clauses() -> None:
    text = "libc6 (>= 2.36), awk, python3:any (<< 3.12) | pypy3 [amd64] <!nocheck>, x(=1:2-3)"
    assert parse_clauses(text) == (
        (Alternative("libc6", ">=", "2.36"),),
        (Alternative("awk"),),
        (Alternative("python3", "<<", "3.12"), Alternative("pypy3")),
        (Alternative("x", "=", "1:2-3"),),
    )


def test_no_clause() -> None:
    assert parse_clauses("") == ()


@pytest.mark.parametrize("text", ["a b", "(>= 1)", "a (> 1)", "a |"])
def test_bad_clause_is_named(text: str) -> None:
    with pytest.raises(DataLossError, match="is not a relationship"):
        parse_clauses(text)


def test_package() -> None:
    package = parse_package(
        stanza("dash", "1:2", Essential="yes", Pre_Depends="libc6", Depends="dpkg"), "http://m"
    )
    assert package.is_essential
    assert package.needs == ((Alternative("libc6"),), (Alternative("dpkg"),))
    assert package.file_name == "dash_1:2_amd64.deb"
    assert package.mirror == "http://m"


def test_package_without_a_digest() -> None:
    text = "\n".join(line for line in stanza("a").splitlines() if "SHA256" not in line)
    with pytest.raises(DataLossError, match="entry a lacks or spoils 'sha256'"):
        parse_package(text, "")


@pytest.mark.parametrize("path", ["/etc/passwd", "pool/../../x.deb"])
def test_file_name_stays_below_the_mirror(path: str) -> None:
    text = stanza("a").replace("pool/a_1.0_amd64.deb", path)
    with pytest.raises(DataLossError, match="filename"):
        parse_package(text, "")
