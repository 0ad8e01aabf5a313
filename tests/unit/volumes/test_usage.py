"""Sizes of volumes."""

import threading
from pathlib import Path

import pytest

from kedge.volumes import usage


def test_each_inode_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c").write_bytes(b"x" * 10)
    assert usage.directory_size(str(tmp_path)) == 1010
    assert usage.directory_size(str(tmp_path / "nosuch")) == 0


def test_what_takes_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = usage.UsageMeter()
    go_on = threading.Event()

    def slow(_folder: str) -> int:
        assert go_on.wait(30)
        return 7

    monkeypatch.setattr(usage, "directory_size", slow)
    folders = {"data": str(tmp_path)}
    try:
        assert meter.sizes(folders, patience_s=0) == {"data": usage.UNKNOWN}
        go_on.set()
        assert meter.sizes(folders, patience_s=30) == {"data": 7}
        go_on.clear()
        assert meter.sizes(folders, patience_s=0) == {"data": 7}
    finally:
        go_on.set()
        meter.close()
