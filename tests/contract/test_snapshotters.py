"""What every snapshotter must do, run over all of them. Needs no mount; see snapshots_live."""

import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kedge.archive.changes import Change, ChangeKind
from kedge.archive.entry import Entry, Kind
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError
from kedge.lib.database import Database
from kedge.snapshots.overlay import OverlaySnapshotter
from kedge.snapshots.snapshotter import SnapshotKind, Snapshotter, Usage
from kedge.snapshots.vfs import VfsSnapshotter
from tests.unit.archive.tars import make_tar

Open = Callable[[], Snapshotter]


@pytest.fixture(params=[OverlaySnapshotter, VfsSnapshotter])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the snapshotter, as after a restart."""
    kind: type[OverlaySnapshotter | VfsSnapshotter] = request.param
    database = Database(str(tmp_path / "kedge.db"))
    yield lambda: kind(str(tmp_path / "snapshots"), database)
    database.close()


@pytest.fixture
def snapshots(reopen: Open) -> Snapshotter:
    return reopen()


def file(name: str, content: bytes = b"content") -> tuple[Entry, bytes]:
    return Entry(name, Kind.REGULAR, 0o644, os.getuid(), os.getgid(), len(content)), content


def directory(name: str, mode: int = 0o755) -> tuple[Entry, bytes]:
    return Entry(name, Kind.DIRECTORY, mode, os.getuid(), os.getgid()), b""


def add_layer(
    snapshots: Snapshotter, name: str, parent: str | None, *members: tuple[Entry, bytes]
) -> None:
    """Unpack and commit a layer."""
    snapshots.prepare("unpacking", parent)
    snapshots.apply("unpacking", io.BytesIO(make_tar(*members)))
    snapshots.commit(name, "unpacking")


def read(snapshots: Snapshotter, key: str, path: str) -> bytes | None:
    with snapshots.open_tree(key) as tree:
        return tree.read_file(path)


def paths(snapshots: Snapshotter, key: str) -> list[str]:
    with snapshots.open_tree(key) as tree:
        return sorted(found.path for found in tree.walk(tree.require("")))


def test_a_new_snapshot_is_empty_active_and_recorded(snapshots: Snapshotter) -> None:
    (mount,) = snapshots.prepare("container")
    assert (mount.type, mount.options) == ("bind", ("rbind", "rw"))
    assert snapshots.mounts("container") == (mount,)
    info = snapshots.stat("container")
    assert (info.kind, info.parent, info.size_bytes) == (SnapshotKind.ACTIVE, None, None)
    assert stat.S_IMODE(os.stat(mount.source).st_mode) == 0o755
    assert paths(snapshots, "container") == []


def test_layers_stack_and_whiteouts_hide(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "one", None, file("a/kept"), file("a/gone"), file("b/deep/er"))
    add_layer(snapshots, "two", "one", file("a/.wh.gone", b""), file(".wh.b", b""), file("c"))
    snapshots.prepare("container", "two")
    assert paths(snapshots, "container") == ["a", "a/kept", "c"]
    assert paths(snapshots, "one") == ["a", "a/gone", "a/kept", "b", "b/deep", "b/deep/er"]


def test_children_do_not_see_each_other(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, file("f", b"base"))
    snapshots.prepare("first", "base")
    snapshots.prepare("second", "base")
    snapshots.extract("first", io.BytesIO(make_tar(file("f", b"changed"))))
    assert read(snapshots, "first", "f") == b"changed"
    assert read(snapshots, "second", "f") == b"base"
    assert read(snapshots, "base", "f") == b"base"


def test_the_root_keeps_the_metadata_of_the_layer_below(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, directory("./", 0o711))
    add_layer(snapshots, "next", "base", file("f"))
    snapshots.prepare("container", "next")
    with snapshots.open_tree("container") as tree:
        assert stat.S_IMODE(tree.require("/").status.st_mode) == 0o711


def test_what_is_taken_or_missing_is_refused(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "layer", None)
    snapshots.prepare("container", "layer")
    with pytest.raises(ConflictError, match="snapshot container exists already"):
        snapshots.prepare("container")
    with pytest.raises(ConflictError, match="snapshot layer exists already"):
        snapshots.view("layer")
    with pytest.raises(ConflictError, match="snapshot layer exists already"):
        snapshots.commit("layer", "container")
    with pytest.raises(NotFoundError, match="no such snapshot: nothing"):
        snapshots.prepare("new", "nothing")
    with pytest.raises(ConflictError, match="snapshot container is active, not committed"):
        snapshots.prepare("new", "container")
    assert not snapshots.exists("new")
    with pytest.raises(ConflictError, match="snapshot layer is committed"):
        snapshots.mounts("layer")
    for forbidden in (
        lambda: snapshots.commit("again", "layer"),
        lambda: snapshots.apply("layer", io.BytesIO()),
        lambda: snapshots.extract("layer", io.BytesIO()),
    ):
        with pytest.raises(ConflictError, match="snapshot layer is committed, not active"):
            forbidden()
    calls: tuple[Callable[[str], object], ...] = (
        snapshots.mounts,
        snapshots.stat,
        snapshots.remove,
        snapshots.usage,
        snapshots.diff_path,
        snapshots.lower_paths,
        snapshots.changes,
        lambda key: snapshots.commit("name", key),
    )
    for missing in calls:
        with pytest.raises(NotFoundError, match="no such snapshot: nothing"):
            missing("nothing")


def test_a_view_is_read_only_and_no_layer(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, file("f"))
    (mount,) = snapshots.view("view", "base")
    assert (mount.type, mount.options) == ("bind", ("rbind", "ro"))
    assert os.listdir(mount.source) == ["f"]
    assert paths(snapshots, "view") == ["f"]
    assert snapshots.changes("view") == []
    with pytest.raises(ConflictError, match="snapshot view is view, not active"):
        snapshots.commit("layer", "view")
    with pytest.raises(ConflictError, match="snapshot view is view, not active"):
        snapshots.extract("view", io.BytesIO())


def test_removal_goes_from_the_leaves(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, file("f"))
    (mount,) = snapshots.prepare("container", "base")
    with pytest.raises(ConflictError, match="snapshot base is the parent of container"):
        snapshots.remove("base")
    diff_path = snapshots.diff_path("container")
    snapshots.remove("container")
    assert not os.path.exists(diff_path)
    snapshots.remove("base")
    assert snapshots.walk() == []
    assert snapshots.purge() == 2
    assert snapshots.purge() == 0
    assert mount.source not in os.listdir(os.path.dirname(os.path.dirname(diff_path)))


def test_a_removed_name_is_free_again(snapshots: Snapshotter) -> None:
    snapshots.prepare("container")
    snapshots.extract("container", io.BytesIO(make_tar(file("old"))))
    snapshots.remove("container")
    snapshots.prepare("container")
    assert paths(snapshots, "container") == []


def test_usage_is_what_a_snapshot_adds(snapshots: Snapshotter) -> None:
    twin = Entry("d/twin", Kind.HARD_LINK, 0o644, os.getuid(), os.getgid(), link_target="d/f")
    add_layer(snapshots, "base", None, file("d/f", b"x" * 1000), (twin, b""), file("g", b"y" * 10))
    assert snapshots.usage("base") == Usage(1010, 4)
    assert snapshots.stat("base").size_bytes == 1010
    snapshots.prepare("container", "base")
    assert snapshots.usage("container").size_bytes == 0
    snapshots.extract("container", io.BytesIO(make_tar(file("new", b"z" * 5))))
    assert snapshots.usage("container").size_bytes == 5
    snapshots.commit("layer", "container", usage=Usage(7, 3))
    assert snapshots.usage("layer") == Usage(7, 3)


def test_walk_lists_parents_first(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "one", None)
    add_layer(snapshots, "two", "one")
    snapshots.prepare("container", "two")
    assert [(info.name, info.parent) for info in snapshots.walk()] == [
        ("one", None),
        ("two", "one"),
        ("container", "two"),
    ]


def test_changes_and_the_layer_written_from_them(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, file("etc/a"), file("etc/b"), file("gone/deep"))
    snapshots.prepare("container", "base")
    layer = make_tar(file("etc/a", b"changed!"), file(".wh.gone", b""), file("new/f"))
    snapshots.apply("container", io.BytesIO(layer))
    assert snapshots.changes("container") == [
        Change("/etc", ChangeKind.MODIFIED),
        Change("/etc/a", ChangeKind.MODIFIED),
        Change("/gone", ChangeKind.DELETED),
        Change("/new", ChangeKind.ADDED),
        Change("/new/f", ChangeKind.ADDED),
    ]
    first, second = io.BytesIO(), io.BytesIO()
    written = snapshots.write_diff("container", first)
    assert snapshots.write_diff("container", second) == written
    assert first.getvalue() == second.getvalue()
    snapshots.prepare("copy", "base")
    first.seek(0)
    assert snapshots.apply("copy", first).diff_id == written.diff_id
    assert paths(snapshots, "copy") == ["etc", "etc/a", "etc/b", "new", "new/f"]
    assert read(snapshots, "copy", "etc/a") == b"changed!"


def test_files_can_be_put_into_a_stopped_container(snapshots: Snapshotter) -> None:
    link = Entry("opt", Kind.SYMLINK, 0o777, os.getuid(), os.getgid(), link_target="/srv/data")
    add_layer(
        snapshots, "base", None, directory("srv/data", 0o750), (link, b""), file("srv/data/f")
    )
    snapshots.prepare("container", "base")
    snapshots.extract("container", io.BytesIO(make_tar(file("new"))), directory="/opt")
    assert read(snapshots, "container", "/srv/data/new") == b"content"
    assert read(snapshots, "container", "/srv/data/f") == b"content"
    with snapshots.open_tree("container") as tree:
        assert stat.S_IMODE(tree.require("/srv/data").status.st_mode) == 0o750
    with pytest.raises(InvalidParameterError, match="cannot overwrite directory"):
        snapshots.extract(
            "container", io.BytesIO(make_tar(file("data"))), directory="/srv", keep_kinds=True
        )


def test_everything_survives_a_restart(reopen: Open) -> None:
    before = reopen()
    add_layer(before, "base", None, file("f"))
    mounts = before.prepare("container", "base")
    after = reopen()
    assert after.mounts("container") == mounts
    assert after.walk() == before.walk()
    assert paths(after, "container") == ["f"]


def test_directories_without_record_go_to_the_trash_at_open(reopen: Open) -> None:
    snapshots = reopen()
    snapshots.prepare("container")
    root = os.path.dirname(os.path.dirname(snapshots.diff_path("container")))
    os.makedirs(os.path.join(root, "4711", "fs"))
    snapshots.prepare("removed")
    snapshots.remove("removed")
    after = reopen()
    assert not os.path.exists(os.path.join(root, "4711"))
    assert after.purge() == 2
    assert after.exists("container")


def test_records_without_directory_are_forgotten_with_their_children(reopen: Open) -> None:
    snapshots = reopen()
    add_layer(snapshots, "lost", None, file("f"))
    add_layer(snapshots, "child", "lost")
    snapshots.prepare("container", "child")
    add_layer(snapshots, "other", None)
    os.rename(
        os.path.dirname(snapshots.diff_path("lost")),
        os.path.dirname(snapshots.diff_path("lost")) + ".x",
    )
    after = reopen()
    assert [info.name for info in after.walk()] == ["other"]


def test_a_failed_layer_can_be_removed_and_tried_again(snapshots: Snapshotter) -> None:
    snapshots.prepare("unpacking")
    with pytest.raises(InvalidParameterError):
        snapshots.apply("unpacking", io.BytesIO(make_tar(file("a"), file("../b"))))
    snapshots.remove("unpacking")
    add_layer(snapshots, "layer", None, file("a"))
    assert paths(snapshots, "layer") == ["a"]


def test_threads_prepare_and_remove_at_once(snapshots: Snapshotter) -> None:
    add_layer(snapshots, "base", None, file("f"))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                key = f"container-{number}-{turn}"
                snapshots.prepare(key, "base")
                snapshots.mounts(key)
                snapshots.remove(key)
                snapshots.purge()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [info.name for info in snapshots.walk()] == ["base"]
