"""The mounts of the overlay snapshotter, made by the kernel."""

import io
import os
import sys
from pathlib import Path

import pytest

from kedge.archive.entry import Entry, Kind
from kedge.lib.database import Database
from kedge.snapshots.choice import find_overlay_obstacle, open_snapshotter
from kedge.snapshots.overlay import OverlaySnapshotter
from tests.integration.archive_live.kernel import overlay, run_mounted
from tests.unit.archive.tars import make_tar

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]


def test_a_container_is_committed_and_its_child_sees_the_same(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    snapshots = OverlaySnapshotter(str(tmp_path / "snapshots"), database)
    snapshots.prepare("unpack")
    snapshots.apply("unpack", io.BytesIO(make_tar((Entry("d/old", Kind.REGULAR), b""))))
    snapshots.commit("base", "unpack")
    (mount,) = snapshots.prepare("container", "base")
    run_mounted(mount, "rm d/old; echo hi > d/new; mkdir -p a/b", tmp_path)
    out = io.BytesIO()
    snapshots.write_diff("container", out)
    snapshots.commit("layer", "container")
    (child,) = snapshots.prepare("child", "layer")
    assert run_mounted(child, "find . | sort | xargs", tmp_path) == ". ./a ./a/b ./d ./d/new\n"
    (view,) = snapshots.view("view", "layer")
    assert run_mounted(view, "touch x 2>/dev/null || cat d/new", tmp_path) == "hi\n"
    for name in ("child", "view", "layer", "base"):
        snapshots.remove(name)
    assert snapshots.purge() == 4
    database.close()


def test_what_is_put_into_a_stopped_container_shows_when_it_runs_again(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    snapshots = OverlaySnapshotter(str(tmp_path / "snapshots"), database)
    snapshots.prepare("unpack")
    layer = make_tar(
        (Entry("srv/data/old", Kind.REGULAR), b""), (Entry("gone/old", Kind.REGULAR), b"")
    )
    snapshots.apply("unpack", io.BytesIO(layer))
    snapshots.commit("base", "unpack")
    (mount,) = snapshots.prepare("container", "base")
    run_mounted(mount, "rm -r gone", tmp_path)
    for directory in ("srv/data", "gone"):
        snapshots.extract(
            "container",
            io.BytesIO(make_tar((Entry("new", Kind.REGULAR), b""))),
            directory=directory,
        )
    assert (
        run_mounted(mount, "ls srv/data gone | xargs", tmp_path) == "gone: new srv/data: new old\n"
    )
    database.close()


def test_overlay_is_chosen_where_the_kernel_takes_it_and_copies_on_an_overlay(
    tmp_path: Path,
) -> None:
    database = Database(":memory:")
    assert open_snapshotter(str(tmp_path / "root"), database).driver == "overlay2"
    assert find_overlay_obstacle(str(tmp_path)) is None
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    mount = overlay([tmp_path / "lower"], tmp_path / "upper", tmp_path / "work")
    code = "from kedge.snapshots.choice import find_overlay_obstacle as f; print(f('.'))"
    shown = run_mounted(mount, f'{sys.executable} -c "{code}"', tmp_path)
    assert "which overlayfs refuses as upper layer" in shown
    database.close()
