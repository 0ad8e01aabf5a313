"""GNU tar reads what we write, and we read every format it writes."""

import filecmp
import io
import os
import subprocess
from pathlib import Path

import pytest

from kedge.archive.apply import extract_tar
from kedge.archive.layered import LayerStack
from kedge.archive.writer import create_tar

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root"),
]

FORMATS = {
    "ustar": ["--format=ustar"],
    "gnu": ["--format=gnu"],
    "oldgnu sparse": ["--format=oldgnu", "--sparse"],
    "gnu sparse": ["--format=gnu", "--sparse"],
    "pax": ["--format=pax", "--xattrs"],
    "sparse 0.0": ["--format=pax", "--sparse", "--sparse-version=0.0"],
    "sparse 0.1": ["--format=pax", "--sparse", "--sparse-version=0.1"],
    "sparse 1.0": ["--format=pax", "--sparse", "--sparse-version=1.0"],
    "v7": ["--format=v7"],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/file").write_bytes(os.urandom(100_000))
    (root / "empty").touch()
    (root / "link").symlink_to("dir/file")
    os.link(root / "dir/file", root / "dir/sub/hard")
    with (root / "sparse").open("wb") as stream:
        for part in range(60):
            stream.seek(part * 300_000)
            stream.write(b"data %d" % part)
        stream.truncate(40 << 20)
    os.mkfifo(root / "pipe")
    os.chmod(root / "dir/file", 0o4755)
    os.chown(root / "empty", 1234, 4321)
    os.utime(root / "dir", ns=(0, 1_234_567_890_000_000_000))
    return root


def listing(root: Path) -> list[tuple[str, int, int, int, int, int]]:
    seen: list[tuple[str, int, int, int, int, int]] = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        seen.append(
            (
                str(path.relative_to(root)),
                status.st_mode,
                status.st_uid,
                status.st_gid,
                size,
                int(status.st_mtime),
            )
        )
    return seen


def same(first: Path, second: Path) -> None:
    assert listing(first) == listing(second)
    for name in ("dir/file", "sparse", "dir/sub/hard"):
        assert filecmp.cmp(first / name, second / name, shallow=False)
    assert os.path.samefile(second / "dir/file", second / "dir/sub/hard")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_we_read_what_gnu_tar_writes(tree: Path, tmp_path: Path, name: str) -> None:
    names = ["dir", "empty", "link", "pipe", "sparse"]
    if name == "v7":
        names.remove("pipe")
        (tree / "pipe").unlink()
    packed = subprocess.run(
        ["tar", *FORMATS[name], "-C", tree, "-cf", "-", *names], capture_output=True, check=True
    ).stdout
    out = tmp_path / "out"
    out.mkdir()
    extract_tar(io.BytesIO(packed), str(out))
    same(tree, out)
    if "sparse" in name:
        assert (out / "sparse").stat().st_blocks * 512 < 4 << 20


def test_gnu_tar_reads_what_we_write(tree: Path, tmp_path: Path) -> None:
    (tree / ("long" * 60)).mkdir()
    (tree / ("long" * 60) / "ümlaut").touch()
    packed = io.BytesIO()
    with LayerStack((str(tree),)) as stack:
        written = create_tar(stack, packed)
    assert written.stream_bytes == len(packed.getvalue())
    assert len(packed.getvalue()) < 4 << 20
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xpf", "-"], input=packed.getvalue(), check=True)
    same(tree, out)


def test_one_file_and_one_directory_under_a_new_name(tree: Path, tmp_path: Path) -> None:
    for path, name, wanted in (
        ("/dir/file", "renamed", ["renamed"]),
        ("dir", "top", ["top/", "top/file", "top/sub/", "top/sub/hard"]),
        ("link", "link", ["link"]),
    ):
        packed = io.BytesIO()
        with LayerStack((str(tree),)) as stack:
            create_tar(stack, packed, path=path, name=name)
        shown = subprocess.run(
            ["tar", "-tf", "-"], input=packed.getvalue(), capture_output=True, check=True
        )
        assert shown.stdout.decode().split() == wanted
