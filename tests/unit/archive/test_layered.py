"""Stacks of layers read as overlayfs would show them.

Whiteouts are device nodes anybody may make; opaque directories need a privilege and are tested
against the kernel in tests/integration/archive_live.
"""

import os
from pathlib import Path

import pytest

from kedge.archive.changes import Change, ChangeKind, overlay_changes, tree_changes
from kedge.archive.layered import LayerStack
from kedge.archive.whiteouts import make_whiteout
from kedge.errdefs import InvalidParameterError, NotFoundError


def hide(directory: Path, name: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        make_whiteout(name, dir_fd=descriptor)
    except PermissionError:
        pytest.skip("the kernel is older than 5.8: whiteouts need a privilege")
    finally:
        os.close(descriptor)


@pytest.fixture
def layers(tmp_path: Path) -> tuple[str, str]:
    """Two layers; the upper one replaces, deletes and links."""
    low, top = tmp_path / "low", tmp_path / "top"
    for path in (
        "low/etc",
        "low/usr/lib/x",
        "low/gone/deep",
        "low/mixed",
        "top/etc",
        "top/mixed/new",
    ):
        (tmp_path / path).mkdir(parents=True)
    (low / "etc/passwd").write_text("below")
    (low / "etc/group").write_text("group")
    (low / "lib").symlink_to("usr/lib")
    (low / "usr/lib/x/f").write_text("f")
    (low / "mixed/file").write_text("1")
    (low / "turned").mkdir()
    (top / "etc/passwd").write_text("above")
    (top / "abs").symlink_to("/lib/x")
    (top / "up").symlink_to("../../../../etc/group")
    (top / "turned").write_text("a file now")
    hide(top, "gone")
    hide(top / "mixed", "file")
    return str(top), str(low)


def test_the_upper_layer_wins_and_the_lower_shows_through(layers: tuple[str, str]) -> None:
    with LayerStack(layers) as stack:
        assert stack.read_file("/etc/passwd") == b"above"
        assert stack.read_file("etc/group") == b"group"
        assert stack.lookup("/gone") is None
        assert stack.lookup("/gone/deep") is None
        assert stack.read_file("/nothing") is None
        assert stack.require("/turned").layers == (0,)
        assert stack.lookup("/turned/x") is None


def test_links_lead_from_layer_to_layer_and_never_out(layers: tuple[str, str]) -> None:
    with LayerStack(layers) as stack:
        assert stack.require("/abs").path == "usr/lib/x"
        assert stack.read_file("/abs/f") == b"f"
        assert stack.read_file("/up") == b"group"
        assert stack.require("/../../etc/passwd").path == "etc/passwd"
        assert stack.require("/abs", follow=False).is_link
        assert stack.read_link(stack.require("/abs", follow=False)) == "/lib/x"


def test_canonical_paths_of_what_does_not_exist(layers: tuple[str, str]) -> None:
    with LayerStack(layers) as stack:
        assert stack.canonical_path("/lib/new/../../y") == "usr/y"
        assert stack.canonical_path("/lib/x/") == "usr/lib/x"
        assert stack.canonical_path("/no/../../../..") == ""


def test_lists_and_walks_merge(layers: tuple[str, str]) -> None:
    with LayerStack(layers) as stack:
        assert [node.path for node in stack.list_directory(stack.require("/mixed"))] == [
            "mixed/new"
        ]
        walked = [found.path for found in stack.walk(stack.require("/"))]
        assert walked == [
            "abs", "lib", "turned", "up",
            "etc", "etc/group", "etc/passwd",
            "mixed", "mixed/new",
            "usr", "usr/lib", "usr/lib/x", "usr/lib/x/f",
        ]  # fmt: skip


def test_loops_and_missing_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with LayerStack((str(tmp_path),)) as stack:
        with pytest.raises(InvalidParameterError, match="too many levels of symbolic links: /a/x"):
            stack.lookup("/a/x")
        with pytest.raises(NotFoundError, match="no such file or directory: /x"):
            stack.require("/x")


def test_a_file_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    root = tmp_path / "root"
    root.mkdir()
    (root / "f").write_text("mine")
    with LayerStack((str(root),)) as stack:
        node = stack.require("f")
        (root / "f").unlink()
        (root / "f").symlink_to("../secret")
        with pytest.raises(InvalidParameterError, match="cannot open /f"):
            stack.open_file(node)


def test_a_fifo_is_no_file_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with LayerStack((str(tmp_path),)) as stack:
        assert stack.read_file("pipe") is None
        with pytest.raises(InvalidParameterError, match="not a regular file: /pipe"):
            stack.open_file(stack.require("pipe"))


def test_descriptors_are_given_back(layers: tuple[str, str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with LayerStack(layers) as stack:
        next(iter(stack.walk(stack.require("/"))))
    with pytest.raises(FileNotFoundError):
        LayerStack((*layers, "/does/not/exist"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_changes_are_dockers(layers: tuple[str, str]) -> None:
    added, modified, deleted = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED
    top, low = layers
    assert overlay_changes(top, [low]) == [
        Change("/abs", added),
        Change("/etc", modified),
        Change("/etc/passwd", modified),
        Change("/gone", deleted),
        Change("/mixed", modified),
        Change("/mixed/file", deleted),
        Change("/mixed/new", added),
        Change("/turned", modified),
        Change("/up", added),
    ]


def test_changes_between_plain_trees(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for root in (old, new):
        (root / "same/dir").mkdir(parents=True)
        (root / "same/file").write_text("1")
        os.utime(root / "same/file", ns=(0, 0))
        (root / "kind").mkdir()
    (old / "same/dir/gone").mkdir()
    (new / "same/file").write_text("2")
    (new / "kind").rmdir()
    (new / "kind").write_text("file")
    (new / "added/dir").mkdir(parents=True)
    with LayerStack((str(old),)) as before, LayerStack((str(new),)) as after:
        assert [
            f"{change.kind.name[0]} {change.path}" for change in tree_changes(before, after)
        ] == [
            "A /added",
            "A /added/dir",
            "M /kind",
            "M /same",
            "M /same/dir",
            "D /same/dir/gone",
            "M /same/file",
        ]
