"""The repository under test: where it is and which files belong to it."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
_NOT_OURS = {".git", ".venv", "__pycache__", "node_modules", "dist", "build"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file git knows; without git or a clone, every file that is no product of a tool."""
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        files = (ROOT / name for name in listed.split("\0") if name)
        return tuple(path for path in files if path.is_file())
    return tuple(_walk(ROOT))


def modules() -> tuple[Path, ...]:
    """Every Python module of the product."""
    return tuple(sorted(SOURCE.rglob("*.py")))


def _walk(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name in _NOT_OURS or path.name.endswith((".egg-info", "_cache")):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path
