"""What ``--explain-context`` says of a folder."""

from pathlib import Path

import pytest

from kedge.cli.contextreport import describe, explain_context
from kedge.errdefs import NotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (
        ("Dockerfile", 10), ("big.bin", 3000), ("src/a.py", 20), ("node_modules/x/y.js", 4000),
        ("node_modules/z.js", 1000), ("keep/skip.log", 5), ("keep/this.log", 6),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "src/link").symlink_to("a.py")
    return tmp_path


def lines(folder: Path, ignore: str, dockerfile: str = "") -> list[str]:
    (folder / ".dockerignore").write_text(ignore)
    return list(describe(explain_context(str(folder), dockerfile)))


def test_the_largest_files_and_the_line_that_keeps_one(folder: Path) -> None:
    assert lines(folder, "# modules\nnode_modules/\n\n*.tmp\n") == [
        "sent: 7 files, 3.072kB",
        "        3kB  big.bin",
        "        31B  .dockerignore",
        "        20B  src/a.py",
        "        10B  Dockerfile",
        "         6B  keep/this.log",
        "         5B  keep/skip.log",
        "         0B  src/link",
        "left out: 2 files, 5kB",
        (
            "        5kB  node_modules and what is below, 2 files "
            "(.dockerignore line 2: node_modules/)"
        ),
        ".dockerignore line 4 matches nothing: *.tmp",
    ]


def test_with_exceptions_single_files_are_left_out(folder: Path) -> None:
    said = lines(folder, "**/*.log\n!keep/this.log\n")
    assert "         6B  keep/this.log" in said
    assert "         5B  keep/skip.log (.dockerignore line 1: **/*.log)" in said


def test_long_lists_end(folder: Path) -> None:
    for number in range(30):
        (folder / f"f{number:02}").write_text("x")
        (folder / f"g{number:02}").write_text("x")
    said = lines(folder, "g*\n")
    assert [line for line in said if line.endswith("more")] == [
        "        28B  in 29 files more", "             and 20 more",
    ]  # fmt: skip


def test_the_ignore_file_of_the_dockerfile_counts(folder: Path) -> None:
    (folder / "My.Dockerfile").write_text("")
    (folder / "My.Dockerfile.dockerignore").write_text("big.bin")
    said = lines(folder, "src\n", str(folder / "My.Dockerfile"))
    assert "        3kB  big.bin (My.Dockerfile.dockerignore line 1: big.bin)" in said


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such build context"):
        explain_context(str(tmp_path / "none"), "")
