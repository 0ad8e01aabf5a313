"""Debian control data: stanzas, fields, relationships (deb822(5), Debian Policy chapter 7)."""

import re
from typing import Final, NamedTuple

from kedge.errdefs import DataLossError

_RELATION: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+.\-]*)(?::(?P<arch>[a-z0-9\-]+))?"
    r"\s*(?:\((?P<relation><<|<=|=|>=|>>)\s*(?P<version>[^)\s]+)\s*\))?"
    r"\s*(?:\[[^\]]*\])?\s*(?:<[^>]*>\s*)*"
)


class Alternative(NamedTuple):
    """One package that would do, perhaps only from some version on."""

    name: str
    relation: str = ""
    version: str = ""


Clause = tuple[Alternative, ...]
"""Packages of which one is needed, preferred first."""


class Package(NamedTuple):
    """What the index of an archive says about one package."""

    name: str
    version: str
    architecture: str
    filename: str
    """Path below the mirror."""
    size_bytes: int
    sha256: str
    needs: tuple[Clause, ...]
    """Pre-Depends and Depends."""
    provides: tuple[Alternative, ...]
    """Virtual packages; a version only where it is said with ``=``."""
    is_essential: bool
    priority: str
    mirror: str = ""
    """URL that ``filename`` is below."""

    @property
    def file_name(self) -> str:
        """Name of the file as dpkg shows it."""
        return self.filename.rpartition("/")[2]


def parse_fields(stanza: str) -> dict[str, str]:
    """Return the fields of one stanza by lower-case name; continuation lines keep their breaks."""
    fields: dict[str, str] = {}
    last = ""
    for line in stanza.split("\n"):
        if line[:1] in {" ", "\t"}:
            if last:
                fields[last] += "\n" + line.strip()
        elif not line.startswith("#"):
            name, colon, value = line.partition(":")
            if colon:
                last = name.lower()
                fields[last] = value.strip()
    return fields


def parse_clauses(text: str) -> tuple[Clause, ...]:
    """Parse a ``Depends`` field.

    Raises:
        DataLossError: It is no relationship.
    """
    return tuple(
        tuple(_parse_alternative(part) for part in clause.split("|"))
        for clause in text.replace("\n", " ").split(",")
        if clause.strip()
    )


def parse_package(stanza: str, mirror: str) -> Package:
    """Parse a stanza of a ``Packages`` file.

    Raises:
        DataLossError: A field that must be there is missing or makes no sense.
    """
    fields = parse_fields(stanza)
    name = fields.get("package", "")
    try:
        return Package(
            name=name,
            version=fields["version"],
            architecture=fields["architecture"],
            filename=_checked_path(fields["filename"]),
            size_bytes=int(fields["size"]),
            sha256=fields["sha256"].lower(),
            needs=(
                *parse_clauses(fields.get("pre-depends", "")),
                *parse_clauses(fields.get("depends", "")),
            ),
            provides=tuple(clause[0] for clause in parse_clauses(fields.get("provides", ""))),
            is_essential=fields.get("essential", "") == "yes",
            priority=fields.get("priority", ""),
            mirror=mirror,
        )
    except (KeyError, ValueError) as error:
        raise DataLossError(f"package index: entry {name or '?'} lacks or spoils {error}") from None


def _parse_alternative(text: str) -> Alternative:
    match = _RELATION.fullmatch(text.strip())
    if match is None:
        raise DataLossError(f'package index: "{text.strip()}" is not a relationship')
    return Alternative(match["name"], match["relation"] or "", match["version"] or "")


def _checked_path(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("filename")
    return path
