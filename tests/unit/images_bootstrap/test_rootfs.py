"""The tree around the packages."""

from pathlib import Path

import pytest

from kedge.errdefs import SystemFailureError
from kedge.images.bootstrap.recipes import File
from kedge.images.bootstrap.rootfs import (
    base_files,
    is_excluded,
    make_base_directories,
    remove_passing,
    write_files,
)

GONE = [
    "var/log/dpkg.log", "var/log/apt/term.log", "var/cache/ldconfig/aux-cache", "etc/passwd-",
    "var/cache/debconf/config.dat-old", "var/lib/dpkg/status-old", "var/lib/dpkg/lock-frontend",
    "usr/lib/python3/__pycache__/a.pyc", "tmp/x/y", "run/a.pid", "etc/machine-id",
    "var/cache/apt/pkgcache.bin", "var/lib/apt/lists/x_InRelease", "usr/share/man/man1/a.1.gz",
]  # fmt: skip
KEPT = [
    "etc/passwd", "var/cache/debconf/config.dat", "var/lib/dpkg/status", "usr/lib/python3/a.py",
    "usr/share/doc/a/copyright", "usr/share/zoneinfo/UTC",
]  # fmt: skip


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_what_passes_goes_and_the_rest_stays(tmp_path: Path) -> None:
    touch(tmp_path, *GONE, *KEPT)
    for name in ("run/lock", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    remove_passing(str(tmp_path))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(KEPT)
    for name in (
        "run/lock",
        "var/log/apt",
        "var/lib/apt/lists/partial",
        "usr/share/man/man1",
        "tmp",
    ):
        assert (tmp_path / name).is_dir(), name
    assert (tmp_path / "var/cache/apt/archives/partial").is_dir()


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    touch(outside, "kept")
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "tmp/link").symlink_to(outside)
    (root / "var/log").symlink_to(outside)
    remove_passing(str(root))
    assert (outside / "kept").exists()
    assert not (root / "tmp/link").is_symlink()


def test_files_and_links(tmp_path: Path) -> None:
    write_files(
        str(tmp_path),
        [File(path="a/b/c", text="x", mode=0o750), File(path="a/link", link="/usr/bin/x")],
    )
    assert (tmp_path / "a/b/c").read_text() == "x"
    assert (tmp_path / "a/b/c").stat().st_mode & 0o7777 == 0o750
    assert str((tmp_path / "a/link").readlink()) == "/usr/bin/x"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/etc").symlink_to(tmp_path)
    with pytest.raises(SystemFailureError, match="/etc is a link"):
        write_files(str(tmp_path / "root"), [File(path="etc/passwd", text="x")])
    (tmp_path / "root/x").symlink_to(tmp_path / "victim")
    with pytest.raises(SystemFailureError, match="cannot write x of the image"):
        write_files(str(tmp_path / "root"), [File(path="x", text="x")])
    assert not (tmp_path / "victim").exists()


def test_base_directories(tmp_path: Path) -> None:
    make_base_directories(str(tmp_path), "amd64")
    assert str((tmp_path / "bin").readlink()) == "usr/bin"
    assert str((tmp_path / "lib64").readlink()) == "usr/lib64"
    write_files(str(tmp_path), base_files("bookworm", ()))
    sources = (tmp_path / "etc/apt/sources.list.d/debian.sources").read_text()
    assert "Suites: bookworm bookworm-updates\n" in sources
    assert "http://deb.debian.org/debian-security" in sources


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("usr/share/doc/bash/changelog.gz", True),
        ("usr/share/doc/bash/copyright", False),
        ("usr/share/doc", False),
        ("usr/share/man/man1", False),
        ("usr/share/man/man1/a.1.gz", True),
        ("usr/share/locale/de/x.mo", True),
        ("usr/lib/python3.11/EXTERNALLY-MANAGED", True),
        ("usr/bin/doc", False),
    ],
)
def test_excluded(path: str, *, excluded: bool) -> None:
    assert is_excluded(path, ("/usr/lib/python3.*/EXTERNALLY-MANAGED",)) is excluded
