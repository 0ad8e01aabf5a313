"""Values of --attest and its siblings, and the files packages are read from."""

import pytest

from kedge.api.buildattests import Attests, ProvenanceWish, make_attests, parse_attests
from kedge.builder.attest.packages import (
    Package,
    parse_apk,
    parse_dpkg,
    parse_npm,
    parse_python,
)
from kedge.errdefs import InvalidParameterError


def test_flags_become_attributes() -> None:
    given = parse_attests(["type=provenance,mode=max"], "", "true")
    assert given == {"provenance": "mode=max", "sbom": ""}
    assert make_attests(given) == Attests(provenance=ProvenanceWish(is_whole=True), sbom=True)
    assert not make_attests(parse_attests([], "false", "false"))
    assert make_attests({"provenance": "mode=min,inline-only=true,version=v0.2"}) == Attests(
        provenance=ProvenanceWish(version="v0.2")
    )


@pytest.mark.parametrize("given", [{"vex": ""}, {"provenance": "colour=red"}, {"sbom": "x"}])
def test_what_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterError):
        make_attests(given)


def test_files_of_package_managers() -> None:
    assert list(parse_dpkg("Package: a\nVersion: 1\n b: c\n\n\n\nPackage: b\n", "p")) == [
        Package("a", "1", "deb", path="p")
    ]
    assert list(parse_apk("P:a\nV:1\nA:x\nL:MIT\nm:me\n\nP:b\n", "p")) == [
        Package("a", "1", "apk", "x", "MIT", "me", "p")
    ]
    assert list(
        parse_python("Name: A_b\nVersion: 1\nLicense-Expression: MIT\n\nName: no", "p")
    ) == [Package("a-b", "1", "pypi", license="MIT", path="p")]
    assert list(parse_python("garbage", "p")) == []
    path = "app/node_modules/a/package.json"
    assert list(parse_npm('{"name": "a", "version": "1", "license": {}}', path)) == [
        Package("a", "1", "npm", path=path)
    ]
    for text in ("", "[]", "[" * 100_000, '{"name": 3}', '{"name": "b", "version": "1"}'):
        assert list(parse_npm(text, path)) == []


def test_package_urls() -> None:
    assert Package("g++", "1:2~3", "deb", "all").purl("debian") == (
        "pkg:deb/debian/g%2B%2B@1%3A2~3?arch=all"
    )
    assert Package("@a/b", "1", "npm").purl("debian") == "pkg:npm/%40a/b@1"
