import pytest

from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import (
    Platform,
    best_match,
    compatible_platforms,
    host_platform,
    parse_platform,
)

AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("i686", "linux/386"),
        ("riscv64", "linux/riscv64"),
    ],
)
def test_host(machine: str, expected: str) -> None:
    assert str(host_platform(machine)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/amd64/v1", "linux/amd64"),
        ("Linux/X86_64", "linux/amd64"),
        ("macos", "darwin/amd64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(parse_platform(text, host=AMD64)) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "no-such", "linux/am d64", "é"])
def test_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"platform|unknown operating system"):
        parse_platform(text, host=AMD64)


def test_preference_order() -> None:
    assert [str(p) for p in compatible_platforms(Platform("linux", "amd64", "v3"))] == [
        "linux/amd64/v3",
        "linux/amd64/v2",
        "linux/amd64",
        "linux/386",
    ]
    assert [str(p) for p in compatible_platforms(Platform("linux", "arm"))] == [
        "linux/arm/v7",
        "linux/arm/v6",
        "linux/arm/v5",
    ]
    assert str(compatible_platforms(Platform("linux", "arm64"))[1]) == "linux/arm/v8"


def test_best_match_in_an_index() -> None:
    offered = [
        Platform("windows", "amd64"),
        Platform("linux", "386"),
        Platform("linux", "arm64", "v8"),
        Platform("linux", "amd64"),
        Platform("linux", "amd64"),
    ]
    assert best_match(AMD64, offered) == 3
    assert best_match(Platform("linux", "arm64"), offered) == 2
    assert best_match(AMD64, offered[:3]) == 1
    assert best_match(Platform("linux", "s390x"), offered) is None
    assert best_match(Platform("linux", "s390x"), [*offered, None]) == 5
    assert best_match(AMD64, []) is None
