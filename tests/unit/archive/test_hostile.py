"""Archives that try to leave their root, and archives that are simply broken."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedge.archive.apply import WhiteoutStyle, apply_layer, extract_tar
from kedge.archive.entry import Entry, Kind
from kedge.archive.extract import Extractor
from kedge.archive.removal import remove_tree
from kedge.errdefs import InvalidParameterError, KedgeError
from tests.unit.archive.tars import make_tar

PREY = "prey"


def own(
    name: str, kind: Kind = Kind.REGULAR, target: str = "", content: bytes = b""
) -> tuple[Entry, bytes]:
    mode = 0o777 if kind is Kind.DIRECTORY else 0o666
    entry = Entry(name, kind, mode, os.getuid(), os.getgid(), len(content), link_target=target)
    return entry, content


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """A directory with a target to extract into and something beside it to harm."""
    (tmp_path / "root").mkdir()
    prey = tmp_path / PREY
    prey.mkdir(mode=0o700)
    (prey / "file").write_text("untouched")
    (prey / "file").chmod(0o600)
    return tmp_path


def fingerprint(arena: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return everything beside the root that an escape would change."""
    seen: dict[str, tuple[int, int, int, bytes]] = {}
    for path in [arena / PREY, *sorted((arena / PREY).rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        seen[str(path)] = (status.st_mode, status.st_nlink, status.st_mtime_ns, content)
    seen["names"] = (0, 0, 0, "\n".join(sorted(os.listdir(arena))).encode())
    return seen


def corpus(arena: Path) -> dict[str, list[tuple[Entry, bytes]]]:
    """Return the classical escapes."""
    prey = str(arena / PREY)
    evil = b"evil"
    link, hard, folder = Kind.SYMLINK, Kind.HARD_LINK, Kind.DIRECTORY
    return {
        "dotdot file": [own(f"../{PREY}/file", content=evil)],
        "hidden dotdot": [own(f"a/../../{PREY}/file", content=evil)],
        "absolute file": [own(f"{prey}/file", content=evil)],
        "link up then write": [own("l", link, f"../{PREY}"), own("l/file", content=evil)],
        "absolute link then write": [own("l", link, prey), own("l/file", content=evil)],
        "link to file then overwrite": [own("l", link, f"{prey}/file"), own("l", content=evil)],
        "chain of links": [
            own("a", link, ".."),
            own("b", link, f"a/{PREY}"),
            own("b/file", content=evil),
        ],
        "hard link out": [own("h", hard, f"../{PREY}/file"), own("h", content=evil)],
        "absolute hard link": [own("h", hard, f"{prey}/file"), own("h", content=evil)],
        "hard link through a link": [
            own("l", link, prey),
            own("h", hard, "l/file"),
            own("h", content=evil),
        ],
        "directory over a link": [own("l", link, prey), own("l", folder)],
        "mode through a link": [
            own("l", link, f"../{PREY}"),
            own("l/", folder),
            own("l/x", content=evil),
        ],
        "replace a directory by a link": [
            own("d", folder),
            own("d/a", content=b"fine"),
            own("d", link, prey),
            own("d/file", content=evil),
        ],
        "replace a parent by a link": [
            own("d/e", folder),
            own("d/e/f", content=b"fine"),
            own("d", link, str(arena)),
            own(f"d/{PREY}/file", content=evil),
            own("d/e/f", content=evil),
        ],
        "whiteout out": [own(f"../{PREY}/.wh.file")],
        "whiteout through a link": [own("l", link, prey), own("l/.wh.file")],
        "opaque through a link": [own("l", link, prey), own("l/.wh..wh..opq")],
        "whiteout of dotdot": [own("d/.wh..."), own("d/.wh..")],
        "magic link": [own("l", link, "/proc/self/cwd"), own("l/file", content=evil)],
        "link loop": [own("a", link, "b"), own("b", link, "a"), own("a/file", content=evil)],
        "root as link": [own(".", link, prey), own("file", content=evil)],
        "root as file": [own("./", content=evil)],
        "hard link to the root": [own("h", hard, "/")],
        "hard link to a directory": [own("d", folder), own("h", hard, "d")],
        "file as parent": [own("f", content=evil), own("f/g", content=evil)],
    }


NAMES = sorted(corpus(Path("/arena")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", ["overlay", "remove", "plain", "stacked"])
def test_nothing_outside_is_touched(arena: Path, name: str, style: str) -> None:
    before = fingerprint(arena)
    refusal = ""
    stream = io.BytesIO(make_tar(*corpus(arena)[name]))
    root = str(arena / "root")
    lower = arena / "root" / "lower"
    lower.mkdir()
    try:
        match style:
            case "plain":
                extract_tar(stream, root)
            case "stacked":
                upper = arena / "root" / "upper"
                upper.mkdir()
                apply_layer(stream, str(upper), lower=(str(lower),))
            case _:
                whiteouts: WhiteoutStyle = "overlay" if style == "overlay" else "remove"
                apply_layer(stream, root, whiteouts=whiteouts)
    except KedgeError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert fingerprint(arena) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dotdot file", r"layer: \.\./prey/file: the path leads out of the archive"),
        ("hard link out", r"layer: \.\./prey/file: the path leads out of the archive"),
        ("hard link to a directory", "layer: h: hard link to the directory d"),
        ("root as file", "layer: the root of the archive is a regular file"),
        ("file as parent", "layer: f: is not a directory"),
        ("link loop", "layer: a: the link leads to no directory"),
    ],
)
def test_the_refusal_names_the_entry(arena: Path, name: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{message}"):
        apply_layer(io.BytesIO(make_tar(*corpus(arena)[name])), str(arena / "root"))


def test_names_the_file_system_cannot_have(arena: Path) -> None:
    for name in ("n" * 300, "/".join(["d" * 200] * 25)):
        with pytest.raises(InvalidParameterError):
            apply_layer(io.BytesIO(make_tar(own(name))), str(arena / "root"))


@pytest.mark.parametrize("owner", [-1, (1 << 32) - 1, 1 << 40])
def test_owners_that_mean_something_else_to_chown(arena: Path, owner: int) -> None:
    with (
        Extractor(str(arena / "root")) as extractor,
        pytest.raises(InvalidParameterError, match="owner"),
    ):
        extractor.add(own("f")[0]._replace(uid=owner))


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12),
    st.booleans(),
    st.sampled_from(["overlay", "remove"]),
)
def test_mutated_archives_fail_cleanly_or_stay_inside(
    arena: Path,
    names: list[str],
    flips: list[tuple[int, int]],
    repair: bool,  # noqa: FBT001 - hypothesis passes by position
    style: WhiteoutStyle,
) -> None:
    """Flip bytes of hostile archives; half of the time the checksums are made right again."""
    before = fingerprint(arena)
    members = [member for name in names for member in corpus(arena)[name]]
    stream = bytearray(make_tar(*members))
    for place, value in flips:
        stream[place % len(stream)] = value
    if repair:
        repair_checksums(stream)
    target = arena / "root" / "fuzz"
    target.mkdir()
    refusal = ""
    try:
        apply_layer(io.BytesIO(bytes(stream)), str(target), whiteouts=style)
    except KedgeError as error:
        refusal = str(error)
    finally:
        descriptor = os.open(arena / "root", os.O_RDONLY | os.O_DIRECTORY)
        remove_tree("fuzz", dir_fd=descriptor)
        os.close(descriptor)
    assert "\n" not in refusal
    assert fingerprint(arena) == before


def repair_checksums(stream: bytearray) -> None:
    for start in range(0, len(stream), 512):
        block = stream[start : start + 512]
        if block.startswith(b"ustar", 257):
            block[148:156] = b" " * 8
            stream[start + 148 : start + 156] = b"%06o\0 " % sum(block)


def test_noise_is_refused(arena: Path) -> None:
    with pytest.raises(InvalidParameterError, match="not a tar archive"):
        apply_layer(io.BytesIO(os.urandom(5000)), str(arena / "root"))
