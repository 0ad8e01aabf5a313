"""The packages of an archive: all suites of a release together, the newest version of each.

A ``Packages`` file has sixty thousand entries and an image needs a hundred, so an entry is only
parsed when somebody asks for it.
"""

import re
from collections.abc import Iterable
from typing import Final

from kedge.errdefs import DataLossError
from kedge.images.bootstrap.control import Package, parse_package
from kedge.images.bootstrap.versions import compare_versions

_PROVIDES: Final = re.compile(r"^Provides:(.*(?:\n[ \t].*)*)", re.MULTILINE)
_BASE: Final = ("\nEssential: yes", "\nPriority: required")
_NAME: Final = "Package: "


class ArchiveIndex:
    """Satisfies the solver's ``PackageIndex``."""

    def __init__(self, architecture: str) -> None:
        """Make an empty index of packages for Debian's ``architecture``."""
        self._architecture = architecture
        self._stanzas: dict[str, list[tuple[str, str]]] = {}
        self._provided: dict[str, set[str]] = {}
        self._base: set[str] = set()
        self._parsed: dict[str, Package] = {}

    def add(self, text: str, mirror: str, *, name: str) -> None:
        """Add the entries of a ``Packages`` file whose pool is at ``mirror``.

        Raises:
            DataLossError: It is none.
        """
        for stanza in text.split("\n\n"):
            if not stanza.strip():
                continue
            head, _, _ = stanza.lstrip("\n").partition("\n")
            if not head.startswith(_NAME):
                raise DataLossError(f'{name}: an entry begins with "{head[:40]}"')
            package = head.removeprefix(_NAME).strip()
            self._stanzas.setdefault(package, []).append((stanza, mirror))
            if "\nProvides:" in stanza:
                self._note_provided(package, stanza)
            if any(mark in stanza for mark in _BASE):
                self._base.add(package)

    def base_packages(self) -> list[str]:
        """Return the names of what every system has: essential or of priority ``required``."""
        found = (self.find(name) for name in sorted(self._base))
        return [
            package.name
            for package in found
            if package is not None and (package.is_essential or package.priority == "required")
        ]

    def find(self, name: str) -> Package | None:
        """Return the newest version of a package."""
        if name in self._parsed:
            return self._parsed[name]
        best: Package | None = None
        for stanza, mirror in self._stanzas.get(name, ()):
            package = parse_package(stanza, mirror)
            if package.architecture not in {self._architecture, "all"}:
                continue
            if best is None or compare_versions(package.version, best.version) > 0:
                best = package
        if best is not None:
            self._parsed[name] = best
        return best

    def providers(self, name: str) -> Iterable[Package]:
        """Return the packages that say they provide ``name``, by name."""
        found = (self.find(provider) for provider in sorted(self._provided.get(name, ())))
        return [package for package in found if package is not None]

    def _note_provided(self, package: str, stanza: str) -> None:
        match = _PROVIDES.search(stanza)
        for part in match[1].split(",") if match else ():
            words = part.split()
            if words:
                self._provided.setdefault(words[0].partition(":")[0], set()).add(package)
