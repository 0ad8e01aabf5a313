"""Links of the documentation lead somewhere, and nothing names the machine it was written on."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.meta.repository import ROOT, tracked_files

LINK = re.compile(r"(?<!\!)\[[^\]\[]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
FENCE = re.compile(r"^\s*(```|~~~)")
# Joined here so that this file does not find itself.
MACHINE_PATHS = ("/" + "work/", "/home/" + "user/", "/Users" + "/", "/root" + "/.pyenv")
TEXT_LIMIT = 2_000_000


def documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines outside code blocks."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", "``", line)


def anchors(path: Path) -> set[str]:
    """The anchors GitHub gives a document's headings."""
    found: set[str] = set()
    fenced = False
    for line in path.read_text().splitlines():
        if FENCE.match(line):
            fenced = not fenced
        match = None if fenced else HEADING.match(line)
        if match:
            words = re.sub(r"[^\w\- ]", "", match[1].lower())
            found.add(words.replace(" ", "-"))
    return found


def broken(path: Path, target: str) -> bool:
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return False  # another server: not for a test without network
    file, _, fragment = target.partition("#")
    destination = (path.parent / file).resolve() if file else path
    if not destination.exists():
        return True
    return bool(fragment) and destination.suffix == ".md" and fragment not in anchors(destination)


def test_every_relative_link_leads_somewhere() -> None:
    assert documents(), "there is documentation"
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {target}"
        for path in documents()
        for number, line in prose(path)
        for match in LINK.finditer(line)
        if (target := match[1] or match[2]) and broken(path, target)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_tracked_file_names_a_machine() -> None:
    wrong: list[str] = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content or len(content) > TEXT_LIMIT:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if any(place in line for place in MACHINE_PATHS):
                wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong, "\n".join(wrong)
