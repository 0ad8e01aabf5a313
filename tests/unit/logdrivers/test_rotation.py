import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.logdrivers import rotation
from kedge.logdrivers.source import LogFile


@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, 30_000, 70_000]), max_size=12),
    wanted=st.integers(0, 15),
    unfinished=st.sampled_from([b"", b"half", b"x" * 70_000]),
)
def test_tail_is_found_backwards(sizes: list[int], wanted: int, unfinished: bytes) -> None:
    lines = [bytes([97 + index]) * size + b"\n" for index, size in enumerate(sizes)]
    fd = os.memfd_create("log")
    try:
        os.write(fd, b"".join(lines) + unfinished)
        offset, found = rotation.find_tail(fd, wanted)
        expected = lines[max(0, len(lines) - wanted) :]
        assert found == len(expected)
        assert os.pread(fd, 1 << 20, offset) == b"".join(expected) + unfinished
    finally:
        os.close(fd)


def test_chain_is_oldest_first(tmp_path: Path) -> None:
    path = str(tmp_path / "x.log")
    for number in range(3):
        Path(rotation.name_of(path, number)).write_text(str(number))
    chain = rotation.open_chain(path)
    assert [os.read(file.fd, 9) for file in chain] == [b"2", b"1", b"0"]
    rotation.close_chain(chain)
    assert rotation.open_chain(str(tmp_path / "none")) == []


def test_successors_are_found_by_inode(tmp_path: Path) -> None:
    path = str(tmp_path / "x.log")
    for number in range(3):
        Path(rotation.name_of(path, number)).write_text(str(number))
    known = LogFile(os.open(rotation.name_of(path, 1), os.O_RDONLY))
    newer = rotation.open_successors(path, known)
    assert [os.read(file.fd, 9) for file in newer] == [b"0"]
    with (tmp_path / "other").open("wb") as other:
        stranger = LogFile(os.dup(other.fileno()))
        everything = rotation.open_successors(path, stranger)
    assert len(everything) == 3
    assert rotation.is_current(path, newer[0])
    assert not rotation.is_current(path, known)
    rotation.close_chain([*newer, *everything, known, stranger])


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_a_rotation_under_way_hides_no_file(tmp_path: Path, gap: int) -> None:
    path = str(tmp_path / "x.log")
    for number in range(4):
        if number != gap:
            Path(rotation.name_of(path, number)).write_text(str(number))
    chain = rotation.open_chain(path)
    found = [os.read(file.fd, 9).decode() for file in chain]
    rotation.close_chain(chain)
    assert found == [str(number) for number in (3, 2, 1, 0) if number != gap]
