import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.shim.jsonlog import LogFile
from kedge.shim.logconfig import LogConfig
from kedge.shim.logrotation import Packer, rotate
from kedge.shim.messages import STDOUT

if TYPE_CHECKING:
    from collections.abc import Callable


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_plain_and_packed_files_are_shifted(tmp_path: Path) -> None:
    for name in ("x.log", "x.log.1", "x.log.2.gz", "x.log.3.gz"):
        (tmp_path / name).write_text(name)
    rotate(str(tmp_path / "x.log"), 4)
    assert names(tmp_path) == ["x.log.1", "x.log.2", "x.log.3.gz"]
    assert (tmp_path / "x.log.3.gz").read_text() == "x.log.2.gz"


def test_a_packed_file_is_gzip_and_knows_its_inode(tmp_path: Path) -> None:
    data = b"line\n" * 200_000
    (tmp_path / "x.log.1").write_bytes(data)
    before = (tmp_path / "x.log.1").stat()
    Packer(str(tmp_path / "x.log")).finish()
    assert names(tmp_path) == ["x.log.1.gz"]
    packed = tmp_path / "x.log.1.gz"
    assert gzip.decompress(packed.read_bytes()) == data
    assert packed.read_bytes()[16:24] == before.st_ino.to_bytes(8, "little")
    assert packed.stat().st_mtime_ns == before.st_mtime_ns


def test_an_abandoned_one_leaves_the_plain_file(tmp_path: Path) -> None:
    (tmp_path / "x.log.1").write_bytes(b"x" * 1_000_000)
    packer = Packer(str(tmp_path / "x.log"))
    assert packer.step()
    packer.abandon()
    assert names(tmp_path) == ["x.log.1"]


def test_compression_goes_on_between_other_work(tmp_path: Path) -> None:
    waiting: list[Callable[[], None]] = []
    config = LogConfig(str(tmp_path / "x.log"), max_size=2000, max_files=3, compress=True)
    log = LogFile(config, later=waiting.append)
    for number in range(30):
        log.write(STDOUT, b"line %d\n" % number)
    assert "x.log.1" in names(tmp_path)
    while waiting:
        waiting.pop()()
    assert "x.log.1.gz" in names(tmp_path)
    for number in range(100):
        log.write(STDOUT, b"line %d\n" % number)
    log.close()
    assert names(tmp_path) == ["x.log", "x.log.1", "x.log.2.gz"]


@pytest.mark.parametrize("left", ["x.log.gz.tmp", "x.log.1"])
def test_a_killed_shim_leaves_nothing_that_stays(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_bytes(b"left")
    waiting: list[Callable[[], None]] = []
    log = LogFile(LogConfig(str(tmp_path / "x.log"), compress=True), later=waiting.append)
    while waiting:
        waiting.pop()()
    log.close()
    assert names(tmp_path) == (["x.log"] if left.endswith("tmp") else ["x.log", "x.log.1.gz"])
