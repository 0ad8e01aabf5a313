"""Trees, what is selected of them, and its digest."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.digests import selection_digest
from kedge.builder.files.directory import DigestMemo, DirectoryTree
from kedge.builder.files.ignored import IgnoredTree
from kedge.builder.files.modes import apply_mode, check_mode
from kedge.builder.files.selection import select
from kedge.builder.files.tar import read_tar, try_read_archive
from kedge.builder.files.tree import MemoryTree, Tree, clip, resolve
from kedge.builder.files.users import find_owner, names_digests
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError
from kedge.lib.ignorefile import IgnoreMatcher


def never(_path: str) -> bool:
    return False


def digest(tree: Tree, source: str = ".") -> list[str]:
    selected = select(tree, [source], instruction="COPY")
    return [selection_digest(tree, each, never) for each in selected]


Open = Callable[[Path], Tree]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folder(opened: ExitStack) -> Open:
    return lambda path: opened.enter_context(DirectoryTree(str(path), DigestMemo()))


def pack(path: Path, mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name in sorted(os.listdir(path)):
            archive.add(path / name, name)
    stream.seek(0)
    return stream


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src/pkg").mkdir(parents=True)
    (root / "app.py").write_text("app")
    (root / "src/a.py").write_text("a")
    (root / "src/pkg/b.py").write_text("b")
    (root / "src/link").symlink_to("pkg")
    (root / "out").symlink_to("/etc")
    return root


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_and_a_folder_of_the_same_files_have_one_digest(
    context: Path, tmp_path: Path, folder: Open, mode: Literal["w", "w:gz", "w:bz2", "w:xz"]
) -> None:
    expected = digest(folder(context), "src")
    with read_tar(pack(context, mode), scratch=str(tmp_path)) as tree:
        assert digest(tree, "src") == expected


def test_only_what_matters_changes_the_digest(context: Path, folder: Open) -> None:
    before = digest(folder(context))
    os.utime(context / "app.py", (1, 1))
    assert digest(folder(context)) == before
    (context / "app.py").chmod(0o755)
    changed_mode = digest(folder(context))
    assert changed_mode != before
    (context / "app.py").write_text("other")
    assert digest(folder(context)) not in (before, changed_mode)
    (context / "app.py").write_text("app")
    (context / "app.py").chmod(0o644)
    assert digest(folder(context)) == before
    (context / "app.py").rename(context / "renamed.py")
    assert digest(folder(context)) != before


def test_links_never_lead_out_of_a_tree(context: Path, folder: Open) -> None:
    tree = folder(context)
    assert resolve(tree, "out/passwd") == "etc/passwd"
    assert resolve(tree, "../../../etc/passwd") == "etc/passwd"
    assert resolve(tree, "src/link/b.py") == "src/pkg/b.py"
    assert tree.entry("etc/passwd") is None
    with pytest.raises(NotFoundError):
        select(tree, ["out/passwd"], instruction="COPY")
    with pytest.raises(InvalidParameterError):
        tree.open("out/passwd")


def test_links_in_a_circle_are_refused(tmp_path: Path, folder: Open) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InvalidParameterError, match="too many levels of symbolic links: a"):
        resolve(folder(tmp_path), "a")


def test_wildcards(context: Path, folder: Open) -> None:
    tree = folder(context)

    def names(*sources: str) -> list[str]:
        return [each.path for each in select(tree, sources, instruction="COPY")]

    assert names("*.py") == ["app.py"]
    assert names("src/*") == ["src/a.py", "src/pkg", "src/pkg"]
    assert names("s?c/[ab].py", "/app.py") == ["src/a.py", "app.py"]
    assert names("nothing*") == []
    assert names("**/b.py") == []
    parents = select(tree, ["**/b.py"], instruction="COPY", keeps_parents=True)
    assert [(each.path, each.name) for each in parents] == [("src/pkg/b.py", "src/pkg/b.py")]
    pivot = select(tree, ["src/./pkg/b.py"], instruction="COPY", keeps_parents=True)
    assert pivot[0].name == "pkg/b.py"


def test_a_missing_source_names_the_nearest(context: Path, folder: Open) -> None:
    with pytest.raises(NotFoundError) as caught:
        select(folder(context), ["src/pgk"], instruction="COPY")
    assert str(caught.value) == (
        "COPY failed: file not found in build context or excluded by .dockerignore: "
        "stat src/pgk: file does not exist (did you mean src/pkg?)"
    )


def test_ignored_paths_are_not_there(context: Path, folder: Open) -> None:
    tree = IgnoredTree(folder(context), IgnoreMatcher(["src", "!src/pkg/b.py", "*.py"]))
    assert tree.names("") == ("out", "src")
    assert tree.names("src") == ("pkg",)
    assert tree.names("src/pkg") == ("b.py",)
    assert tree.entry("app.py") is None
    before = digest(tree)
    (context / "app.py").write_text("changed, but ignored")
    assert digest(
        IgnoredTree(folder(context), IgnoreMatcher(["src", "!src/pkg/b.py", "*.py"]))
    ) == (before)


def test_a_tar_gives_owners_to_root_and_content_back(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (("./a", b"first"), ("../b", b"x" * 100_000), ("a", b"second")):
            info = tarfile.TarInfo(name)
            info.uid, info.size = 1000, len(content)
            archive.addfile(info, io.BytesIO(content))
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "b"
        archive.addfile(hard)
    with read_tar(io.BytesIO(stream.getvalue()), scratch=str(tmp_path)) as tree:
        assert tree.names("") == ("a", "b", "hard")
        assert tree.entry("a") == Entry("a", Kind.REGULAR, uid=0, size=6, mtime_ns=0)
        with tree.open("a") as opened:
            assert opened.read() == b"second"
        assert tree.digest("hard") == tree.digest("b")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_context_is_an_error(context: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(context / "app.py", "app.py")
    with pytest.raises(DataLossError, match="build context"):
        read_tar(io.BytesIO(stream.getvalue()[:600]), scratch=str(tmp_path))
    with pytest.raises(InvalidParameterError, match="build context"):
        read_tar(io.BytesIO(b"no tar at all" * 100), scratch=str(tmp_path))


def test_add_unpacks_only_archives(context: Path, tmp_path: Path) -> None:
    plain = tmp_path / "x.gz"
    plain.write_bytes(b"\x1f\x8bnot gzip")
    packed = tmp_path / "y.bin"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(context / "app.py", "app.py")
    with plain.open("rb") as stream:
        assert try_read_archive(stream, scratch=str(tmp_path), name="x.gz") is None
    with packed.open("rb") as stream:
        tree = try_read_archive(stream, scratch=str(tmp_path), name="y.bin")
    assert tree is not None
    with tree:
        assert tree.names("") == ("app.py",)


PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\nbad line\n"


def test_owners_come_from_the_image() -> None:
    class Image(MemoryTree):
        def entry(self, path: str) -> Entry | None:
            found = super().entry(path)
            return Entry(path, Kind.DIRECTORY) if path == "etc" else found

    image = Image({"etc/passwd": PASSWD, "etc/group": b"staff:x:50:\n"})
    assert find_owner("web", image) == (33, 44)
    assert find_owner("web:staff", image) == (33, 50)
    assert find_owner("7", image) == (7, 7)
    assert find_owner("7:8", image) == (7, 8)
    assert find_owner(":8", image) == (0, 8)
    with pytest.raises(InvalidParameterError, match="unable to find user nobody"):
        find_owner("nobody", image)
    assert names_digests("7:8", image) == []
    assert len(names_digests("web:staff", image)) == 2


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("755", 0o600, 0o755),
        ("0644", 0o600, 0o644),
        ("u=rwX,go=rX", 0o600, 0o644),
        ("u=rwX,go=rX", 0o700, 0o755),
        ("+x", 0o644, 0o755),
        ("a-w", 0o666, 0o444),
        ("g=u", 0o640, 0o660),
        ("u+s,+t", 0o755, 0o5755),
        ("o=", 0o777, 0o770),
    ],
)
def test_modes(text: str, mode: int, expected: int) -> None:
    check_mode(text)
    assert apply_mode(text, Entry("f", Kind.REGULAR, mode=mode)) == expected


@pytest.mark.parametrize("text", ["", "99", "rwx", "u=z", "17777", "u=r,,"])
def test_modes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid chmod parameter"):
        check_mode(text)


@given(st.text("ab/.", max_size=12))
def test_clipped_paths_stay_below_the_root(path: str) -> None:
    clipped = clip(path)
    assert not clipped.startswith("/")
    assert ".." not in clipped.split("/")
