"""The record of ``make test-vm``: a section for each kernel and stage, as it was printed last."""

from pathlib import Path
from typing import Final

TITLE: Final = "== Linux "
_HEADING: Final = "What make test-vm printed, stage by stage; written by it.\n"


def keep(path: Path, section: str) -> None:
    """Have ``section``, which begins with its title, in the file in place of its former text."""
    path.write_text(with_section(path.read_text() if path.exists() else "", section))


def with_section(record: str, section: str) -> str:
    """Return ``record`` with ``section`` where one of the same title was, or at its end."""
    _heading, *sections = f"\n{record}".split(f"\n{TITLE}")
    by_title = {each.partition("\n")[0]: each.strip("\n") for each in sections}
    new = section.removeprefix(TITLE)
    by_title[new.partition("\n")[0]] = new.strip("\n")
    return "\n".join([_HEADING, *(f"{TITLE}{each}\n" for each in by_title.values())])
