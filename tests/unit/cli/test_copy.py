"""``kedge cp``: names as Docker gives them, archives there and back, and hostile archives."""

import base64
import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.cli.copypaths import PathStat, base_name, parse_stat, placement, resolve_source
from kedge.cli.copytar import extract, stream_tree
from kedge.cli.cp import Place, parse_place
from kedge.errdefs import KedgeError

FOLDER = PathStat(0o755, is_dir=True)
FILE = PathStat(0o644)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web:/a", Place("web", "/a")),
        ("web:a:b", Place("web", "a:b")),
        ("./web:/a", Place("", "./web:/a")),
        ("/web:/a", Place("", "/web:/a")),
        ("-", Place("", "-")),
        ("plain", Place("", "plain")),
    ],
)
def test_sides(text: str, expected: Place) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    ("base", "is_dir", "target", "found", "expected"),
    [
        ("f", False, "/d", FOLDER, ("/d", "f")),
        ("f", False, "/d/g", None, ("/d", "g")),
        ("f", False, "/d/g", FILE, ("/d", "g")),
        ("s", True, "/d", FOLDER, ("/d", "s")),
        ("s", True, "/d", None, ("/", "d")),
        (".", True, "/d", None, ("/", "d")),
        (".", True, "/d", FOLDER, ("/d", ".")),
        ("s", True, "/d/", None, ("/", "d")),
    ],
)
def test_where_it_goes(
    *, base: str, is_dir: bool, target: str, found: PathStat | None, expected: "tuple[str, str]"
) -> None:
    assert placement(base, is_dir=is_dir, target=target, found=found) == expected


@pytest.mark.parametrize(
    ("is_dir", "target", "found"), [(True, "/f", FILE), (False, "/d/", None), (False, "/f/", FILE)]
)
def test_what_cannot_go_there(*, is_dir: bool, target: str, found: PathStat | None) -> None:
    with pytest.raises(KedgeError, match="director"):
        placement("s", is_dir=is_dir, target=target, found=found)


def test_stat_of_the_engine() -> None:
    document = {"name": "x", "size": 1, "mode": (1 << 31) | 0o755, "linkTarget": "/y"}
    header = base64.b64encode(json.dumps(document).encode()).decode()
    found = parse_stat(header)
    assert (found.is_dir, found.is_link, found.link_target) == (True, False, "/y")
    with pytest.raises(KedgeError, match="does not say"):
        parse_stat("%%")


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("d")
    (tmp_path / "f").write_text("x")
    assert resolve_source(str(tmp_path / "l"), follow=False).is_dir is False
    assert resolve_source(str(tmp_path / "l"), follow=True)[1:] == ("l", True)
    assert resolve_source(f"{tmp_path}/l/", follow=False)[1:] == ("l", True)
    assert resolve_source(f"{tmp_path}/d/.", follow=False)[1:] == (".", True)
    for path in ("nope", "f/"):
        with pytest.raises(KedgeError):
            resolve_source(f"{tmp_path}/{path}", follow=False)
    assert base_name("/") == "/"


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / "s"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_bytes(b"x" * 300_000)
    os.link(source / "sub" / "f", source / "hard")
    (source / "soft").symlink_to("../outside")
    os.mkfifo(source / "pipe")
    (source / "sub" / "f").chmod(0o4751)
    (source / "sub").chmod(0o500)
    os.utime(source / "sub", (1, 1_000_000))
    target = tmp_path / "t"
    target.mkdir()
    extract(stream_tree(str(source), "s"), str(target), old_base="s", new_base="n", owners=False)
    found = target / "n"
    assert (found / "sub" / "f").read_bytes() == b"x" * 300_000
    assert (found / "hard").stat().st_ino == (found / "sub" / "f").stat().st_ino
    assert os.readlink(found / "soft") == "../outside"
    assert stat.S_ISFIFO((found / "pipe").stat().st_mode)
    assert stat.S_IMODE((found / "sub" / "f").stat().st_mode) == 0o4751
    assert stat.S_IMODE((found / "sub").stat().st_mode) == 0o500
    assert (found / "sub").stat().st_mtime == 1_000_000
    (source / "sub").chmod(0o700)
    (found / "sub").chmod(0o700)


def tar_of(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 3 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "members",
    [
        [entry("s/../../evil")],
        [entry("s/l", tarfile.SYMTYPE, ".."), entry("s/l/evil")],
        [entry("s/l", tarfile.SYMTYPE, "/tmp"), entry("s/l/evil-kedge")],
        [entry("s/h", tarfile.LNKTYPE, "../secret")],
        [entry("s/l", tarfile.SYMTYPE, ".."), entry("s/h", tarfile.LNKTYPE, "s/l/secret")],
        [entry("s"), entry("s", tarfile.DIRTYPE)],
        [entry("s", tarfile.DIRTYPE), entry("s")],
    ],
)
def test_a_hostile_archive_writes_nothing_outside(
    tmp_path: Path, members: "list[tarfile.TarInfo]"
) -> None:
    (tmp_path / "secret").write_text("mine")
    target = tmp_path / "t"
    target.mkdir()
    with pytest.raises((KedgeError, OSError)):
        extract([tar_of(*members)], str(target), old_base="s", new_base="s", owners=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "t"]
    assert not Path("/tmp/evil-kedge").exists()


def test_a_file_in_the_way_is_replaced_and_a_link_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("keep")
    target = tmp_path / "t"
    target.mkdir()
    (target / "s").symlink_to("../outside")
    extract([tar_of(entry("s"))], str(target), old_base="s", new_base="s", owners=False)
    assert (target / "s").read_text() == "xxx"
    assert (tmp_path / "outside").read_text() == "keep"


@given(st.lists(st.integers(1, 700), min_size=1))
def test_an_archive_may_come_in_any_pieces(cuts: "list[int]") -> None:
    import tempfile  # noqa: PLC0415 - hypothesis allows no fixture of function scope

    data = tar_of(entry("s"))
    pieces: list[bytes] = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    with tempfile.TemporaryDirectory() as folder:
        extract([*filter(None, [*pieces, data])], folder, old_base="s", new_base="n", owners=False)
        assert (Path(folder) / "n").read_text() == "xxx"
