"""Which packages make up an image: a walk over dependencies, without back-tracking.

As debootstrap: a stable release is consistent, so the first alternative that can be had is right.
Conflicts and recommended packages are not looked at.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from kedge.errdefs import NotFoundError
from kedge.images.bootstrap.control import Alternative, Clause, Package
from kedge.images.bootstrap.versions import satisfies


class PackageIndex(Protocol):
    """The newest version of every package that the archive has."""

    def find(self, name: str) -> Package | None:
        """Return the package of that name."""
        ...

    def providers(self, name: str) -> Iterable[Package]:
        """Return the packages that say they provide ``name``, by name."""
        ...


def solve(
    index: PackageIndex, wanted: Iterable[str], *, without: frozenset[str] = frozenset()
) -> list[Package]:
    """Return ``wanted`` and all they need, by name.

    A need that one of ``wanted`` meets is met by it, whatever stands first in the clause.

    Args:
        index: What there is.
        wanted: Names of packages.
        without: Packages to leave out although they are in ``wanted``.

    Raises:
        NotFoundError: A package or all alternatives of a clause are missing.
    """
    chosen: dict[str, Package] = {}
    for name in wanted:
        if name in without:
            continue
        package = index.find(name)
        if package is None:
            raise NotFoundError(f"the archive has no package {name}")
        chosen[name] = package
    queue = list(chosen.values())
    while queue:
        package = queue.pop(0)
        for clause in package.needs:
            if any(_is_met(alternative, chosen) for alternative in clause):
                continue
            found = _choose(index, clause)
            if found is None:
                words = " | ".join(alternative.name for alternative in clause)
                raise NotFoundError(
                    f"the archive has nothing for {words}, needed by {package.name}"
                )
            chosen[found.name] = found
            queue.append(found)
    return sorted(chosen.values())


def _choose(index: PackageIndex, clause: Clause) -> Package | None:
    for alternative in clause:
        package = index.find(alternative.name)
        if package is not None and _fits(package.version, alternative):
            return package
        for provider in index.providers(alternative.name):
            if _provides(provider, alternative):
                return provider
    return None


def _is_met(alternative: Alternative, chosen: Mapping[str, Package]) -> bool:
    package = chosen.get(alternative.name)
    if package is not None and _fits(package.version, alternative):
        return True
    return any(_provides(package, alternative) for package in chosen.values())


def _fits(version: str, alternative: Alternative) -> bool:
    return not alternative.relation or satisfies(version, alternative.relation, alternative.version)


def _provides(package: Package, wanted: Alternative) -> bool:
    for provided in package.provides:
        if provided.name == wanted.name and (
            not wanted.relation or (provided.relation == "=" and _fits(provided.version, wanted))
        ):
            return True
    return False


class ChosenPackages:
    """An index of nothing but packages that were chosen before."""

    def __init__(self, packages: Iterable[Package]) -> None:
        """Offer ``packages``."""
        self._packages = {package.name: package for package in packages}

    def find(self, name: str) -> Package | None:
        """Return the package of that name."""
        return self._packages.get(name)

    def providers(self, name: str) -> Iterable[Package]:
        """Return the packages that say they provide ``name``."""
        return [
            package
            for package in self._packages.values()
            if any(provided.name == name for provided in package.provides)
        ]
