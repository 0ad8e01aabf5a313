"""Packages taken apart."""

import io
import tarfile
from pathlib import Path

import pytest

from kedge.archive.entry import Entry, Kind
from kedge.errdefs import DataLossError
from kedge.images.bootstrap.deb import merge_usr, open_data
from tests.unit.images_bootstrap.mirror import make_deb


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_files_of_a_package(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(make_deb({"bin/a": b"odd"}, compression=compression))
    with open_data(str(path), name="a.deb") as data:
        content = data.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getnames() == ["./bin/a"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>", "a.deb is not a Debian package"),
        (make_deb({})[:100], "a.deb"),
        (make_deb({}).replace(b"data.tar", b"nope.tar"), "has no data.tar"),
    ],
)
def test_no_package(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(data)
    with pytest.raises(DataLossError, match=words), open_data(str(path), name="a.deb") as stream:
        stream.read()


def test_merged_usr() -> None:
    def merged(name: str) -> str | None:
        entry = merge_usr(Entry(name, Kind.REGULAR))
        return None if entry is None else entry.name

    assert merged("./bin/sh") == "usr/bin/sh"
    assert merged("./lib64/ld.so") == "usr/lib64/ld.so"
    assert merged("./usr/bin/env") == "usr/bin/env"
    assert merged("./library/x") == "library/x"
    assert merged("./lib/") is None
    assert merged("./") == "."


def test_merged_usr_of_a_hard_link() -> None:
    entry = merge_usr(Entry("./bin/b", Kind.HARD_LINK, link_target="./bin/a"))
    assert entry is not None
    assert (entry.name, entry.link_target) == ("usr/bin/b", "usr/bin/a")
