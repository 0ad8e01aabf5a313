import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.cli.buildcontext import check_folder, single_file, stream_folder
from kedge.cli.contexttar import plain_header
from kedge.errdefs import InvalidParameterError, NotFoundError


def archive_of(folder: Path, *, dockerfile: str = "Dockerfile") -> tarfile.TarFile:
    data = b"".join(stream_folder(str(folder), dockerfile=dockerfile, extra={}))
    return tarfile.open(fileobj=io.BytesIO(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "link").symlink_to("b/file")
    (tmp_path / "junk").write_text("junk")
    (tmp_path / ("n" * 120 + "é")).write_text("long name")
    return tmp_path


def test_everything_goes_along(folder: Path) -> None:
    with archive_of(folder) as archive:
        names = archive.getnames()
        assert names == ["Dockerfile", "a", "a/b", "a/b/file", "a/link", "junk", "n" * 120 + "é"]
        assert archive.getmember("a/link").linkname == "b/file"
        file = archive.extractfile("a/b/file")
        assert file is not None
        assert file.read() == b"x" * 1000
        assert archive.getmember("junk").uid == 0


def test_ignored_files_stay(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!a/b/file\n")
    with archive_of(folder) as archive:
        assert archive.getnames() == [".dockerignore", "Dockerfile", "a/b/file"]


def test_an_ignored_dockerfile_goes_along(folder: Path) -> None:
    (folder / "a" / "Dockerfile").write_text("")
    (folder / ".dockerignore").write_text("a\nDockerfile\n")
    with archive_of(folder, dockerfile="a/Dockerfile") as archive:
        assert "a/Dockerfile" in archive.getnames()
        assert "a/b/file" not in archive.getnames()


def test_sockets_are_left_out_and_fifos_kept(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with archive_of(folder) as archive:
        assert archive.getmember("pipe").isfifo()


def test_a_bad_ignore_file_is_named(folder: Path) -> None:
    (folder / ".dockerignore").write_text("[\n")
    with pytest.raises(InvalidParameterError, match=r"\.dockerignore: syntax error"):
        archive_of(folder)


def test_a_single_file() -> None:
    with tarfile.open(
        fileobj=io.BytesIO(b"".join(single_file("Dockerfile", b"FROM x")))
    ) as archive:
        assert archive.getnames() == ["Dockerfile"]


def test_contexts_that_are_none(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no such build context"):
        check_folder("/nowhere")
    with pytest.raises(InvalidParameterError, match="is no folder"):
        check_folder(str(folder / "junk"))


@given(
    st.one_of(st.text(min_size=1, max_size=120), st.just("a" * 100), st.just("a/" * 50)),
    st.integers(0, 2**40),
    st.integers(-5, 2**40),
    st.integers(0, 0o7777),
)
def test_the_fast_header_is_the_slow_one(name: str, size: int, mtime: int, mode: int) -> None:
    fast = plain_header(name, mode, mtime, size)
    if not fast:
        return
    found = tarfile.TarInfo.frombuf(fast, "utf-8", "surrogateescape")
    facts = (found.name.rstrip("/"), found.size, found.mtime, found.mode)
    assert facts == (name.rstrip("/"), size, mtime, mode)
    assert (found.uid, found.gid, found.type) == (0, 0, tarfile.REGTYPE)
