from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.database import Database
from kedge.oci.mounts import Mount
from kedge.snapshots.choice import load_fstype, open_snapshotter
from kedge.snapshots.overlay import (
    OverlaySnapshotter,
    bind_mount,
    overlay_mount,
    overlay_options,
    unflushed,
)
from kedge.snapshots.vfs import VfsSnapshotter


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(":memory:")
    yield database
    database.close()


def test_the_top_layer_comes_first(tmp_path: Path, database: Database) -> None:
    snapshots = OverlaySnapshotter(str(tmp_path), database)
    parent = None
    for name in ("one", "two", "three"):
        snapshots.prepare("new", parent)
        snapshots.commit(name, "new")
        parent = name
    (mount,) = snapshots.prepare("container", parent)
    assert mount.options[:3] == (
        f"lowerdir={tmp_path}/3/fs:{tmp_path}/2/fs:{tmp_path}/1/fs",
        f"upperdir={tmp_path}/4/fs",
        f"workdir={tmp_path}/4/work",
    )
    (view,) = snapshots.view("view", parent)
    assert view.options[0] == mount.options[0]
    assert not any(option.startswith("upperdir") for option in view.options)


def test_features_the_kernel_does_not_know_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "index").touch()
    (tmp_path / "xino_auto").touch()
    assert overlay_options(str(tmp_path)) == ("index=off",)
    assert overlay_options(str(tmp_path / "none")) == (
        "index=off",
        "redirect_dir=off",
        "metacopy=off",
    )


def test_the_mount_is_plain_data() -> None:
    assert overlay_mount(("/a", "/b"), "upperdir=/u", options=("index=off",)) == Mount(
        "overlay", "overlay", ("lowerdir=/a:/b", "upperdir=/u", "index=off")
    )


@pytest.mark.parametrize("name", ["a:b", "a,b", 'a"b', "a\\b"])
def test_roots_that_mount_options_cannot_name(
    tmp_path: Path, database: Database, name: str
) -> None:
    with pytest.raises(InvalidParameterError, match="choose another root"):
        OverlaySnapshotter(str(tmp_path / name), database)


def test_the_driver_can_be_chosen(tmp_path: Path, database: Database) -> None:
    assert isinstance(open_snapshotter(str(tmp_path), database, driver="vfs"), VfsSnapshotter)
    with pytest.raises(InvalidParameterError, match="no such storage driver: zfs"):
        open_snapshotter(str(tmp_path), database, driver="zfs")


def test_an_overlay_root_gets_copies(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_overlay(_path: str) -> str:
        return "overlay"

    monkeypatch.setattr("kedge.snapshots.choice.load_fstype", on_overlay)
    assert open_snapshotter(str(tmp_path), database).driver == "vfs"
    with pytest.raises(Exception, match="overlayfs refuses as upper layer; use vfs"):
        open_snapshotter(str(tmp_path), database, driver="overlay2")


def test_the_file_system_type_is_that_of_the_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "1 0 0:99 / / rw - proc proc rw\n"
        f"2 0 {device >> 8 & 0xFFF}:{device & 0xFF} / /x rw shared:1 - ext4 /dev/vda rw\n"
    )
    assert load_fstype(str(tmp_path), str(mountinfo)) == "ext4"
    mountinfo.write_text("1 0 0:99 / / rw - proc proc rw\n")
    assert load_fstype(str(tmp_path), str(mountinfo)) == "unknown"


def test_what_is_mounted_once_flushes_nothing_where_the_kernel_can() -> None:
    mounts = (overlay_mount(("/a", "/b"), "upperdir=/u", options=()), bind_mount("/c", "rw"))
    overlay, bind = unflushed(mounts, "5.10.0-rc1")
    assert overlay.options == ("lowerdir=/a:/b", "upperdir=/u", "volatile")
    assert bind == mounts[1]
    assert unflushed(mounts, "5.9.16") == mounts
    assert unflushed(mounts, "6.12+deb13") == (overlay, bind)
