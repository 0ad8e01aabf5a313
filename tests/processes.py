"""Processes of the host that a test looks for by what they were started as."""

from pathlib import Path


def is_running(*words: str) -> bool:
    """Tell whether a process runs whose first words are these; a number of its own tells whose."""
    wanted = [word.encode() for word in words]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[: len(wanted)] == wanted:
                return True
        except OSError:
            # It ended between the listing and the look.
            continue
    return False
