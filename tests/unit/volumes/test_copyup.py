"""Copying an image's content into a new volume."""

import os
import stat
from pathlib import Path

import pytest

from kedge.archive.layered import LayerStack
from kedge.volumes.copyup import populate


@pytest.fixture
def image(tmp_path: Path) -> Path:
    top = tmp_path / "image"
    (top / "data/sub").mkdir(parents=True)
    (top / "data/sub/f").write_text("content")
    (top / "data/sub/f").chmod(0o640)
    (top / "data/again").hardlink_to(top / "data/sub/f")
    (top / "data/link").symlink_to("/etc/passwd")
    os.mkfifo(top / "data/pipe")
    (top / "link").symlink_to("data")
    (top / "out").symlink_to("../../../..")
    os.utime(top / "data/sub", ns=(1, 5_000_000_000))
    (top / "data").chmod(0o750)
    return top


def fill(image: Path, path: str, folder: Path, *, is_shown: bool = False) -> bool:
    with LayerStack([str(image)]) as stack:
        return populate(stack, path, str(folder), is_shown=is_shown)


@pytest.mark.parametrize("is_shown", [False, True])
@pytest.mark.parametrize("path", ["/data", "/link", "/x/../data/"])
def test_everything_arrives(image: Path, tmp_path: Path, path: str, *, is_shown: bool) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    if path.startswith("/x"):
        (image / "x").mkdir()
    assert fill(image, path, folder, is_shown=is_shown)
    assert (folder / "sub/f").read_text() == "content"
    assert stat.S_IMODE((folder / "sub/f").stat().st_mode) == 0o640
    assert (folder / "again").stat().st_ino == (folder / "sub/f").stat().st_ino
    assert (folder / "link").readlink() == Path("/etc/passwd")
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert (folder / "sub").stat().st_mtime_ns == 5_000_000_000
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert sorted(os.listdir(tmp_path)) == ["image", "volume"]


def test_a_volume_with_content_is_left_alone(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "own").write_text("x")
    assert not fill(image, "/data", folder)
    assert os.listdir(folder) == ["own"]


@pytest.mark.parametrize("path", ["/nosuch", "/data/sub/f", "/data/link"])
def test_nothing_to_copy(image: Path, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    assert not fill(image, path, folder)
    assert os.listdir(folder) == []


def test_a_link_leads_nowhere_outside(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    assert fill(image, "/out", folder)
    # The root of the image, not of the host.
    assert sorted(os.listdir(folder)) == sorted(os.listdir(image))


def test_a_failure_leaves_the_volume_empty(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="No space"):
        fill(image, "/data", folder)
    assert os.listdir(folder) == []
    assert sorted(os.listdir(tmp_path)) == ["image", "volume"]
