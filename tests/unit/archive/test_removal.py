import os
from pathlib import Path

import pytest

from kedge.archive.removal import remove_tree


def remove(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        remove_tree(path.name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def test_a_tree_deeper_than_paths_and_descriptors_allow(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=descriptor)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=descriptor))
        child = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = child
    os.close(descriptor)
    remove(top)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["nothing", "file", "link", "directory"])
def test_it_is_gone_whatever_it_was(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    victim = tmp_path / "victim"
    match kind:
        case "file":
            victim.write_text("x")
        case "link":
            victim.symlink_to(kept)
        case "directory":
            victim.mkdir()
            (victim / "link").symlink_to(kept)
        case _:
            pass
    remove(victim)
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(kept) == ["file"]
