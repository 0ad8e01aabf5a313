"""Extraction as any user: files belong to whoever runs the tests."""

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from kedge.archive.apply import Applied, apply_layer, extract_tar
from kedge.archive.entry import Entry, Kind, Segment
from kedge.archive.layered import LayerStack
from kedge.errdefs import InvalidParameterError, SystemFailureError
from tests.unit.archive.tars import make_tar

MTIME_NS = 1_600_000_000_123_456_789


def own(name: str, kind: Kind = Kind.REGULAR, **fields: object) -> Entry:
    """Return an entry that belongs to the user."""
    mode = 0o755 if kind is Kind.DIRECTORY else 0o640
    entry = Entry(name, kind, mode, os.getuid(), os.getgid(), mtime_ns=MTIME_NS)
    return entry._replace(**fields)  # type: ignore[arg-type]


def directory(name: str) -> tuple[Entry, bytes]:
    return own(name, Kind.DIRECTORY), b""


def file(name: str, content: bytes = b"content") -> tuple[Entry, bytes]:
    return own(name, size=len(content)), content


def link(name: str, target: str, kind: Kind = Kind.SYMLINK) -> tuple[Entry, bytes]:
    return own(name, kind, link_target=target), b""


def extract(target: Path, *members: tuple[Entry, bytes], **options: bool | str) -> Applied:
    stream = io.BytesIO(make_tar(*members))
    return extract_tar(stream, str(target), **options)  # type: ignore[arg-type]


def apply(target: Path, *members: tuple[Entry, bytes]) -> Applied:
    return apply_layer(io.BytesIO(make_tar(*members)), str(target), whiteouts="remove")


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_files_get_content_mode_and_time(tmp_path: Path) -> None:
    result = extract(tmp_path, directory("d/"), (own("d/f", mode=0o4751, size=3), b"abc"))
    status = (tmp_path / "d/f").stat()
    assert (tmp_path / "d/f").read_bytes() == b"abc"
    assert stat.S_IMODE(status.st_mode) == 0o4751
    assert status.st_mtime_ns == MTIME_NS
    assert (tmp_path / "d").stat().st_mtime_ns == MTIME_NS
    assert (result.entries, result.size_bytes, result.notes) == (2, 3, ())


def test_the_digest_is_of_the_whole_stream(tmp_path: Path) -> None:
    stream = make_tar(file("f")) + b"\0" * 9000 + b"whatever follows"
    seen: list[int] = []
    result = extract_tar(io.BytesIO(stream), str(tmp_path), on_progress=seen.append)
    assert result.diff_id == f"sha256:{hashlib.sha256(stream).hexdigest()}"
    assert result.stream_bytes == len(stream) == seen[-1]


def test_missing_parents_are_made(tmp_path: Path) -> None:
    extract(tmp_path, file("a/b/c"))
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755


def test_files_replace_files_links_and_whole_directories(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("untouched")
    target = tmp_path / "root"
    target.mkdir()
    extract(
        target,
        file("a", b"1"),
        link("b", "../outside"),
        directory("c"),
        file("c/deep/er"),
        file("a", b"2"),
        file("b", b"3"),
        file("c", b"4"),
    )
    assert [(target / name).read_bytes() for name in "abc"] == [b"2", b"3", b"4"]
    assert listing(target) == ["a", "b", "c"]
    assert (tmp_path / "outside").read_text() == "untouched"


def test_directories_merge_and_take_the_new_metadata(tmp_path: Path) -> None:
    extract(tmp_path, directory("d"), file("d/f"), (own("d", Kind.DIRECTORY, mode=0o700), b""))
    assert listing(tmp_path) == ["d", "d/f"]
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


def test_a_directory_over_a_link_replaces_it_and_leaves_its_target_alone(tmp_path: Path) -> None:
    extract(
        tmp_path,
        directory("real"),
        link("alias", "real"),
        (own("alias/", Kind.DIRECTORY, mode=0o777), b""),
    )
    assert not (tmp_path / "alias").is_symlink()
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o755


@pytest.mark.parametrize("target", ["usr/lib", "/usr/lib", "../../usr/lib"])
def test_parents_may_be_links_inside_the_tree(tmp_path: Path, target: str) -> None:
    extract(
        tmp_path, directory("usr/lib"), link("lib", target), file("lib/sub/f"), directory("lib/d")
    )
    assert listing(tmp_path / "usr/lib") == ["d", "sub", "sub/f"]
    assert (tmp_path / "usr/lib/d").stat().st_mtime_ns == MTIME_NS


def test_a_link_that_changes_its_target_is_looked_up_again(tmp_path: Path) -> None:
    extract(
        tmp_path,
        directory("one"),
        directory("two"),
        link("way", "one"),
        file("way/first"),
        link("way", "two"),
        file("way/second"),
    )
    assert listing(tmp_path / "one") == ["first"]
    assert listing(tmp_path / "two") == ["second"]


def test_hard_links_share_an_inode_and_may_repeat(tmp_path: Path) -> None:
    extract(
        tmp_path,
        file("d/a"),
        link("b", "d/a", Kind.HARD_LINK),
        link("b", "d/a", Kind.HARD_LINK),
        link("d/a", "d/a", Kind.HARD_LINK),
        link("b", "/d/../b", Kind.HARD_LINK),
    )
    assert (tmp_path / "d/a").stat().st_nlink == 2
    assert os.path.samefile(tmp_path / "d/a", tmp_path / "b")


def test_hard_links_to_links_link_the_link(tmp_path: Path) -> None:
    extract(tmp_path, link("l", "/etc/passwd"), link("h", "l", Kind.HARD_LINK))
    assert os.readlink(tmp_path / "h") == "/etc/passwd"
    assert os.lstat(tmp_path / "h").st_ino == os.lstat(tmp_path / "l").st_ino


def test_fifos(tmp_path: Path) -> None:
    extract(tmp_path, (own("pipe", Kind.FIFO, mode=0o622), b""))
    status = (tmp_path / "pipe").stat()
    assert stat.S_ISFIFO(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o622
    assert status.st_mtime_ns == MTIME_NS


def test_sparse_files_have_holes(tmp_path: Path) -> None:
    segments = (Segment(1 << 20, 5), Segment(3 << 20, 2))
    extract(tmp_path, (own("s", size=64 << 20, segments=segments), b"helloyo"))
    content = (tmp_path / "s").read_bytes()
    assert len(content) == 64 << 20
    assert content[1 << 20 :][:5] == b"hello"
    assert content[3 << 20 :][:2] == b"yo"
    assert content.count(0) == len(content) - 7
    assert (tmp_path / "s").stat().st_blocks * 512 < 1 << 20


def test_the_root_entry_sets_the_roots_own_metadata(tmp_path: Path) -> None:
    target = tmp_path / "root"
    target.mkdir()
    extract(target, (own("./", Kind.DIRECTORY, mode=0o711), b""), file("./f"))
    assert stat.S_IMODE(target.stat().st_mode) == 0o711
    assert target.stat().st_mtime_ns == MTIME_NS


def test_absurd_times_are_clamped(tmp_path: Path) -> None:
    extract(
        tmp_path,
        (own("f", mtime_ns=1 << 80), b""),
        (own("d/", Kind.DIRECTORY, mtime_ns=-(1 << 80)), b""),
    )
    assert (tmp_path / "f").stat().st_mtime_ns > MTIME_NS
    assert (tmp_path / "d").stat().st_mtime_ns < 0


def test_many_directories_outlive_the_kept_descriptors(tmp_path: Path) -> None:
    deep = "/".join(f"{level:03}" for level in range(150))
    before = len(os.listdir("/proc/self/fd"))
    extract(
        tmp_path, *(file(f"d{number}/f") for number in range(200)), file(f"{deep}/f"), file("d0/g")
    )
    assert (tmp_path / deep / "f").read_bytes() == b"content"
    assert len(os.listdir("/proc/self/fd")) == before


def test_change_renames_reowns_and_leaves_out(tmp_path: Path) -> None:
    def change(entry: Entry) -> Entry | None:
        return None if entry.name == "skip" else entry._replace(name=f"in/{entry.name}", mode=0o600)

    extract_tar(io.BytesIO(make_tar(file("skip"), file("f"))), str(tmp_path), change=change)
    assert listing(tmp_path) == ["in", "in/f"]
    assert stat.S_IMODE((tmp_path / "in/f").stat().st_mode) == 0o600


def test_extraction_below_a_directory_resolves_links_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "app").symlink_to("/data")
    extract(tmp_path, file("f"), link("g", "f", Kind.HARD_LINK), directory="app")
    assert listing(tmp_path / "data") == ["f", "g"]


def test_kinds_are_kept_where_asked(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("x")
    with pytest.raises(
        InvalidParameterError, match='cannot overwrite directory "/d" with non-directory'
    ):
        extract(tmp_path, file("d"), keep_kinds=True)
    with pytest.raises(
        InvalidParameterError, match='cannot overwrite non-directory "/f" with directory'
    ):
        extract(tmp_path, directory("f"), keep_kinds=True)
    extract(tmp_path, directory("d"), file("f", b"new"), keep_kinds=True)
    assert (tmp_path / "f").read_bytes() == b"new"


def test_whiteouts_remove_what_was_below(tmp_path: Path) -> None:
    apply(tmp_path, file("a/old"), file("a/both"), file("gone/deep"), file("file"))
    apply(
        tmp_path,
        file("a/both", b"new"),
        (own("a/.wh.both"), b""),
        (own("a/.wh.old"), b""),
        (own(".wh.gone"), b""),
        (own(".wh.never"), b""),
        (own("no/where/.wh.x"), b""),
        (own(".wh..wh.plnk"), b""),
    )
    assert listing(tmp_path) == ["a", "a/both", "file"]
    assert (tmp_path / "a/both").read_bytes() == b"new"


@pytest.mark.parametrize("opaque_first", [True, False])
def test_an_opaque_directory_keeps_only_what_the_layer_brings(
    tmp_path: Path, *, opaque_first: bool
) -> None:
    apply(tmp_path, file("d/old"), file("d/sub/old"), file("d/sub/kept"), file("other"))
    opaque = (own("d/.wh..wh..opq"), b"")
    new = [directory("d"), file("d/new"), file("d/sub/kept", b"new")]
    apply(tmp_path, *([opaque, *new] if opaque_first else [*new, opaque]))
    assert listing(tmp_path) == ["d", "d/new", "d/sub", "d/sub/kept", "other"]
    assert (tmp_path / "d/sub/kept").read_bytes() == b"new"


def test_names_like_whiteouts_are_files_in_a_plain_archive(tmp_path: Path) -> None:
    extract(tmp_path, file(".wh.x"))
    assert listing(tmp_path) == [".wh.x"]


def test_what_the_stream_raises_arrives_as_it_is(tmp_path: Path) -> None:
    class Broken:
        def __init__(self) -> None:
            self._stream = io.BytesIO(make_tar(file("f", b"x" * 100_000)))

        def read(self, _size: int, /) -> bytes:
            data = self._stream.read(1000)
            if self._stream.tell() > 50_000:
                raise TimeoutError("the registry went away")
            return data

    with pytest.raises(TimeoutError, match="the registry went away"):
        extract_tar(Broken(), str(tmp_path))  # type: ignore[arg-type]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kedge.archive.extract.os.write", full)
    with pytest.raises(SystemFailureError, match="archive: f: no space left on device"):
        extract(tmp_path, file("f"))


def test_stacked_layers_are_seen_by_links_parents_and_hard_links(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    extract(
        lower,
        (own("usr/lib", Kind.DIRECTORY, mode=0o711), b""),
        link("lib", "usr/lib"),
        file("usr/lib/f", b"below"),
    )
    stream = io.BytesIO(
        make_tar(file("lib/new"), link("h", "lib/f", Kind.HARD_LINK), directory("lib/d"))
    )
    apply_layer(stream, str(upper), lower=(str(lower),))
    assert listing(upper) == ["h", "usr", "usr/lib", "usr/lib/d", "usr/lib/f", "usr/lib/new"]
    assert stat.S_IMODE((upper / "usr/lib").stat().st_mode) == 0o711
    assert (upper / "usr/lib").stat().st_mtime_ns == MTIME_NS
    assert (upper / "usr/lib/d").stat().st_mtime_ns == MTIME_NS
    assert (upper / "h").stat().st_nlink == 2
    assert (upper / "h").read_bytes() == b"below"
    assert (lower / "usr/lib/f").stat().st_nlink == 1
    with LayerStack((str(upper), str(lower))) as stack:
        assert stack.read_file("/lib/new") == b"content"
