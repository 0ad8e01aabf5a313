import os
from pathlib import Path

from kedge.runtime.copy_up import copy_tree


def test_a_tree_is_copied_with_modes_and_symlinks(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    (source / "d").mkdir(parents=True)
    target.mkdir()
    (source / "d/file").write_bytes(b"x" * 100_000)
    (source / "d/file").chmod(0o640)
    (source / "d").chmod(0o750)
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    fds = [os.open(path, os.O_PATH) for path in (source, target)]
    copy_tree(fds[0], fds[1])
    for fd in fds:
        os.close(fd)
    assert (target / "d/file").read_bytes() == b"x" * 100_000
    assert (target / "d/file").stat().st_mode & 0o777 == 0o640
    assert (target / "d").stat().st_mode & 0o777 == 0o750
    assert os.readlink(target / "link") == "/etc/passwd"
    assert not (target / "fifo").exists()
