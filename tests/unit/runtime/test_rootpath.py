"""Lookups and created mount points stay inside the root, whatever the image holds."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import KedgeError
from kedge.runtime.rootpath import RootPath


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    return directory


@pytest.fixture
def image(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def root(image: Path) -> Iterator[RootPath]:
    fd = os.open(image, os.O_PATH | os.O_DIRECTORY)
    yield RootPath(fd)
    os.close(fd)


def test_missing_directories_are_made_and_reported(root: RootPath, image: Path) -> None:
    os.close(root.ensure_directory("/a/b/c"))
    os.close(root.ensure_file("/a/f"))
    assert (image / "a/b/c").is_dir()
    assert (image / "a/f").read_bytes() == b""
    assert root.created == ["/a", "/a/b", "/a/b/c", "/a/f"]


def test_what_exists_is_not_reported(root: RootPath, image: Path) -> None:
    (image / "etc").mkdir()
    os.close(root.ensure_directory("/etc"))
    assert root.created == []


def test_an_absolute_symlink_is_followed_inside(root: RootPath, image: Path, outside: Path) -> None:
    (image / "var").symlink_to(outside)
    os.close(root.ensure_directory("/var/run"))
    assert list(outside.iterdir()) == []
    assert (image / str(outside).lstrip("/") / "run").is_dir()


def test_a_dangling_symlink_is_made_real(root: RootPath, image: Path) -> None:
    (image / "etc").mkdir()
    (image / "etc/resolv.conf").symlink_to("../run/systemd/stub-resolv.conf")
    os.close(root.ensure_file("/etc/resolv.conf"))
    assert (image / "run/systemd/stub-resolv.conf").is_file()
    assert (image / "etc/resolv.conf").is_symlink()
    assert root.created[-1] == "/run/systemd/stub-resolv.conf"


def test_dots_do_not_lead_out(root: RootPath, image: Path, tmp_path: Path) -> None:
    (image / "up").symlink_to("../../../..")
    os.close(root.ensure_directory("/up/new"))
    assert (image / "new").is_dir()
    assert not (tmp_path / "new").exists()


def test_a_circle_of_symlinks_is_an_error(root: RootPath, image: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("a")
    with pytest.raises(KedgeError):
        root.ensure_directory("/a")


def test_a_file_in_the_way_is_an_error(root: RootPath, image: Path) -> None:
    (image / "file").touch()
    with pytest.raises(KedgeError):
        root.ensure_directory("/file/inside")


def test_symlinks_can_be_refused(root: RootPath, image: Path) -> None:
    (image / "proc").symlink_to("/tmp")
    with pytest.raises(OSError, match="symbolic links"):
        root.open("/proc", no_symlinks=True)
