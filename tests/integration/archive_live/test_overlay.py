"""Layers against the kernel's own overlayfs, in both directions."""

import io
import os
import stat
from pathlib import Path

import pytest

from kedge.archive.apply import apply_layer
from kedge.archive.changes import Change, ChangeKind, overlay_changes
from kedge.archive.entry import Entry, Kind
from kedge.archive.layered import LayerStack
from kedge.archive.reader import TarReader
from kedge.archive.writer import write_layer
from kedge.oci.mounts import Mount
from tests.integration.archive_live.kernel import LISTING, overlay, run_mounted
from tests.unit.archive.tars import chunked, make_tar

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="overlay mounts and trusted attributes need root"),
]

BASE = """
mkdir -p etc usr/lib/deep var/cache/apt gone/away same
echo base > etc/conf; echo one > usr/lib/deep/one; echo two > usr/lib/deep/two
echo pkg > var/cache/apt/pkg; echo x > gone/away/x; echo keep > same/file
ln -s usr/lib lib; ln etc/conf etc/conf.hard; mknod dev0 c 1 3; mkfifo pipe
chmod 4755 usr/lib/deep/one; chown 12:34 same/file
"""
CHANGES = """
echo changed > etc/conf
rm -r gone
rm -rf usr/lib/deep; mkdir usr/lib/deep; echo three > usr/lib/deep/three
rm lib; mkdir lib; echo real > lib/file
rm same/file; mkdir same/file; echo inner > same/file/inner
rm -r var/cache; echo file > var/cache
mkdir -p new/dir; echo n > new/dir/n; ln new/dir/n new/hard
chmod 700 etc
mknod null c 1 3; mkfifo fifo; ln -s /abs link
"""


class Lab:
    """A base layer made by plain files, and an upper directory the kernel wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = self.directory("base")
        self.upper = self.directory("upper")
        self.work = self.directory("work")
        run_mounted(Mount("bind", str(self.base)), BASE, root)
        self.merged = run_mounted(
            overlay([self.base], self.upper, self.work), CHANGES + LISTING, root
        )

    def directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir()
        return path

    def layer(self) -> bytes:
        out = io.BytesIO()
        write_layer(str(self.upper), out, lower=(str(self.base),))
        return out.getvalue()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_layer_written_and_applied_again_mounts_the_same(lab: Lab) -> None:
    copy = lab.directory("copy")
    apply_layer(io.BytesIO(lab.layer()), str(copy), lower=(str(lab.base),))
    assert run_mounted(overlay([copy, lab.base]), LISTING, lab.root) == lab.merged


def test_a_layer_applied_by_removal_gives_the_same_tree(lab: Lab) -> None:
    plain = lab.directory("plain")
    for layer in (_layer_of(lab.base), lab.layer()):
        apply_layer(io.BytesIO(layer), str(plain), whiteouts="remove")
    with LayerStack((str(plain),)) as tree, LayerStack((str(lab.upper), str(lab.base))) as stack:
        assert _listing(tree) == _listing(stack)


def test_the_stack_shows_what_the_kernel_shows(lab: Lab) -> None:
    with LayerStack((str(lab.upper), str(lab.base))) as stack:
        assert _listing(stack) == lab.merged.splitlines()
        assert stack.lookup("usr/lib/deep/one") is None
        assert stack.read_file("lib/file") == b"real\n"


def test_markers_appear_only_where_they_hide_something(lab: Lab) -> None:
    names = [entry.name for entry in TarReader(chunked(lab.layer(), ()))]
    markers = [name for name in names if "/.wh." in f"/{name}"]
    assert markers == [".wh.gone", "usr/lib/deep/.wh..wh..opq"]
    assert "etc/conf.hard" not in names


def test_changes_are_what_docker_would_say(lab: Lab) -> None:
    kinds = dict(overlay_changes(str(lab.upper), (str(lab.base),)))
    assert kinds["/gone"] is ChangeKind.DELETED
    assert kinds["/usr/lib/deep/one"] is ChangeKind.DELETED
    assert kinds["/usr/lib/deep/three"] is ChangeKind.ADDED
    assert kinds["/usr/lib"] is ChangeKind.MODIFIED
    assert kinds["/same/file"] is ChangeKind.MODIFIED
    assert "/gone/away" not in kinds
    assert Change("/etc", ChangeKind.MODIFIED) in overlay_changes(str(lab.upper), (str(lab.base),))


@pytest.mark.parametrize("order", ["directory first", "whiteout first", "opaque", "file between"])
def test_a_directory_and_its_whiteout_in_one_layer_hide_the_one_below(
    tmp_path: Path, order: str
) -> None:
    base, upper = tmp_path / "base", tmp_path / "upper"
    (base / "d/old").mkdir(parents=True)
    upper.mkdir()
    directory = (Entry("d", Kind.DIRECTORY, 0o755), b"")
    new = (Entry("d/new", Kind.REGULAR), b"")
    whiteout = (Entry(".wh.d", Kind.REGULAR), b"")
    members = {
        "directory first": [directory, new, whiteout],
        "whiteout first": [whiteout, new],
        "opaque": [(Entry("d/.wh..wh..opq", Kind.REGULAR), b""), new],
        "file between": [(Entry("d", Kind.REGULAR), b""), directory, new],
    }[order]
    apply_layer(io.BytesIO(make_tar(*members)), str(upper), lower=(str(base),))
    assert run_mounted(overlay([upper, base]), "ls d", tmp_path) == "new\n"


def test_attributes_that_steer_overlayfs_are_never_set(tmp_path: Path) -> None:
    evil = {"trusted.overlay.redirect": b"/etc", "trusted.overlay.opaque": b"y", "user.fine": b"1"}
    entry = Entry("d", Kind.DIRECTORY, 0o755, xattrs=evil)
    apply_layer(io.BytesIO(make_tar((entry, b""))), str(tmp_path))
    assert os.listxattr(tmp_path / "d") == ["user.fine"]


def test_capabilities_and_acls_survive(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    upper, copy = tmp_path / "upper", tmp_path / "copy"
    upper.mkdir()
    copy.mkdir()
    file = Entry("ping", Kind.REGULAR, 0o755, 5, 6, 4, xattrs={"security.capability": capability})
    apply_layer(io.BytesIO(make_tar((file, b"ping"))), str(upper))
    out = io.BytesIO()
    write_layer(str(upper), out)
    out.seek(0)
    result = apply_layer(out, str(copy))
    assert os.getxattr(copy / "ping", "security.capability") == capability
    assert (copy / "ping").stat().st_uid == 5
    assert result.notes == ()


def test_what_the_file_system_refuses_is_noted(tmp_path: Path) -> None:
    link = Entry("l", Kind.SYMLINK, link_target="x", xattrs={"user.on-a-link": b"1"})
    result = apply_layer(io.BytesIO(make_tar((link, b""))), str(tmp_path))
    assert result.notes == ("layer: l: attribute user.on-a-link is not supported here",)


def test_devices(tmp_path: Path) -> None:
    members = [
        (Entry("null", Kind.CHAR_DEVICE, 0o666, device=(1, 3)), b""),
        (Entry("disk", Kind.BLOCK_DEVICE, 0o660, 0, 6, device=(8, 70_000)), b""),
    ]
    apply_layer(io.BytesIO(make_tar(*members)), str(tmp_path))
    null, disk = (tmp_path / "null").stat(), (tmp_path / "disk").stat()
    assert (stat.S_ISCHR(null.st_mode), stat.S_IMODE(null.st_mode)) == (True, 0o666)
    assert (os.major(disk.st_rdev), os.minor(disk.st_rdev), disk.st_gid) == (8, 70_000, 6)
    out = io.BytesIO()
    write_layer(str(tmp_path), out)
    devices = {entry.name: entry.device for entry in TarReader(chunked(out.getvalue(), ()))}
    assert devices == {"null": (1, 3), "disk": (8, 70_000)}


def _layer_of(directory: Path) -> bytes:
    out = io.BytesIO()
    write_layer(str(directory), out)
    return out.getvalue()


def _listing(stack: LayerStack) -> list[str]:
    """Return the stack's tree in the form of the shell's listing."""
    letters = {
        stat.S_IFREG: "f",
        stat.S_IFDIR: "d",
        stat.S_IFLNK: "l",
        stat.S_IFCHR: "c",
        stat.S_IFIFO: "p",
    }
    lines: list[str] = []
    for found in stack.walk(stack.require("")):
        status = found.status
        letter = letters[stat.S_IFMT(status.st_mode)]
        size = "" if letter == "d" else f" {status.st_size}"
        target = os.readlink(found.name, dir_fd=found.dir_fd) if letter == "l" else ""
        mode = f"{stat.S_IMODE(status.st_mode):o}"
        lines.append(f"{found.path} {letter} {mode} {status.st_uid}:{status.st_gid}{size} {target}")
    return sorted(lines, key=os.fsencode)
