"""Real overlay mounts, each in a mount namespace that ends with the command run in it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from kedge.oci.mounts import Mount


def run_mounted(mount: Mount, script: str, work: Path) -> str:
    """Mount, run a shell script inside the mounted tree, and return what it prints."""
    point = work / "mounted"
    point.mkdir(exist_ok=True)
    options = ",".join(option for option in mount.options if option != "rbind")
    kind = ["--rbind"] if mount.type == "bind" else ["-t", mount.type]
    command = ["mount", *kind, mount.source, "-o", options or "defaults", str(point)]
    if mount.type == "bind":
        command = ["mount", "--rbind", mount.source, str(point)]
    result = subprocess.run(
        [
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-ec",
            _SCRIPT,
            "sh",
            str(point),
            script,
            *command,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


_SCRIPT = 'point=$1; script=$2; shift 2; "$@"; cd "$point"; eval "$script"'

LISTING = (
    r"find . -mindepth 1 -printf '%P %y %m %U:%G %s %l\n'"
    r" | sed -E 's/^([^ ]+ d [^ ]+ [^ ]+) [0-9]+/\1/' | sort"
)
"""Prints one line for everything in a tree; sizes of directories left out."""


def overlay(lower: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> Mount:
    """Return the mount of these layers, top first."""
    options = [
        f"lowerdir={':'.join(map(str, lower))}",
        "index=off",
        "redirect_dir=off",
        "metacopy=off",
    ]
    if upper is not None and work is not None:
        options += [f"upperdir={upper}", f"workdir={work}"]
    return Mount("overlay", "overlay", tuple(options))
