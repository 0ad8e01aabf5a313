"""Which mirror is used."""

from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.images.bootstrap.mirrors import Mirrors, find_mirrors

CDN = Mirrors("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
LINES = """\
# deb http://old.test/debian bookworm main
deb-src http://src.test/debian bookworm main
deb https://apt.vendor.test/debian bookworm main
deb [arch=amd64 signed-by=/x.gpg] http://ftp.test/debian/ bookworm main contrib
deb http://ftp.test/debian bookworm-updates main
deb http://sec.test/debian-security bookworm-security main
"""
STANZAS = """\
Types: deb deb-src
URIs: http://ftp.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://sec.test/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.test/debian
Suites: bookworm bookworm-updates
Components: main
Enabled: no
"""


def test_no_apt(tmp_path: Path) -> None:
    assert find_mirrors({}, apt=str(tmp_path)) == CDN


def test_one_line_format(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(LINES)
    assert find_mirrors({}, apt=str(tmp_path)) == Mirrors(
        "http://ftp.test/debian", "http://sec.test/debian-security"
    )


def test_stanzas(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(STANZAS)
    assert find_mirrors({}, apt=str(tmp_path)) == Mirrors(
        "http://ftp.test/debian", "https://sec.test/debian-security"
    )


def test_another_distribution(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb http://a.test/ubuntu noble main\ndeb http://a.test/ubuntu noble-updates main\n"
    )
    assert find_mirrors({}, apt=str(tmp_path)) == CDN


@pytest.mark.parametrize(
    ("main", "security", "expected"),
    [
        (
            "http://m.test/debian/",
            "",
            Mirrors("http://m.test/debian", "http://m.test/debian-security"),
        ),
        ("https://m.test", "", Mirrors("https://m.test", "https://m.test/debian-security")),
        ("http://m.test/debian", "none", Mirrors("http://m.test/debian", "")),
        ("", "http://s.test/x/", Mirrors(CDN.main, "http://s.test/x")),
    ],
)
def test_variables_win(main: str, security: str, expected: Mirrors, tmp_path: Path) -> None:
    environ = {"KEDGE_DEBIAN_MIRROR": main, "KEDGE_DEBIAN_SECURITY_MIRROR": security}
    assert find_mirrors(environ, apt=str(tmp_path)) == expected


@pytest.mark.parametrize("value", ["ftp://m.test/debian", "none", "m.test"])
def test_not_a_url(value: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=r"KEDGE_DEBIAN_MIRROR: .* is not an http"):
        find_mirrors({"KEDGE_DEBIAN_MIRROR": value}, apt=str(tmp_path))
