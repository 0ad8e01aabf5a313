"""One release of Debian at a mirror: verified suites, joined into one index of packages."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pysequoia

from kedge.archive.compression import decompress
from kedge.errdefs import NotFoundError, NotSupportedError
from kedge.images.bootstrap.control import Package
from kedge.images.bootstrap.download import Downloads, Wanted
from kedge.images.bootstrap.index import ArchiveIndex
from kedge.images.bootstrap.mirrors import MIRROR_VARIABLE, SECURITY_VARIABLE, Mirrors
from kedge.images.bootstrap.openpgp import verified_text
from kedge.images.bootstrap.release import Release, parse_release
from kedge.lib.clock import Clock

_ARCHITECTURES: Final = {
    ("386", ""): "i386",
    ("amd64", ""): "amd64",
    ("arm", "v7"): "armhf",
    ("arm", "v6"): "armel",
    ("arm", "v5"): "armel",
    ("arm64", ""): "arm64",
    ("ppc64le", ""): "ppc64el",
    ("riscv64", ""): "riscv64",
    ("s390x", ""): "s390x",
}


def debian_architecture(architecture: str, variant: str) -> str:
    """Return Debian's name of an OCI platform's processor.

    Raises:
        NotSupportedError: Debian has none.
    """
    try:
        return _ARCHITECTURES[architecture, variant]
    except KeyError:
        raise NotSupportedError(f"Debian has no packages for {architecture}{variant}") from None


class Suite(NamedTuple):
    """One suite at one mirror."""

    mirror: str
    name: str

    @property
    def url(self) -> str:
        """Directory of its Release."""
        return f"{self.mirror}/dists/{self.name}"


class Archive(NamedTuple):
    """What a release offers now."""

    release: Release
    """Of the main suite: its date and version are the release's."""
    packages: ArchiveIndex


def open_archive(
    codename: str,
    *,
    mirrors: Mirrors,
    architecture: str,
    downloads: Downloads,
    certs: Sequence[pysequoia.Cert],
    clock: Clock,
) -> Archive:
    """Fetch and verify the suites of a release and read their packages.

    Raises:
        NotFoundError: The mirror does not have a suite.
        UnavailableError: A mirror cannot be reached.
        DataLossError: A signature or a digest is wrong, or a suite has expired.
    """
    now = datetime.fromtimestamp(clock.time_ns() // 1_000_000_000, UTC)
    suites = [Suite(mirrors.main, codename), Suite(mirrors.main, f"{codename}-updates")]
    if mirrors.security:
        suites.append(Suite(mirrors.security, f"{codename}-security"))

    def load(suite: Suite) -> tuple[Release, str]:
        release = _load_release(suite, downloads, certs, now)
        return release, _load_packages(suite, release, architecture, downloads)

    with ThreadPoolExecutor(len(suites), thread_name_prefix="kedge-suite") as pool:
        loaded = list(pool.map(load, suites))
    index = ArchiveIndex(architecture)
    for suite, (_, packages) in zip(suites, loaded, strict=True):
        index.add(packages, suite.mirror, name=f"Packages of {suite.name}")
    return Archive(loaded[0][0], index)


def package_file(package: Package) -> Wanted:
    """Return what to fetch for a package."""
    return Wanted(
        urls=(f"{package.mirror}/{package.filename}",),
        size_bytes=package.size_bytes,
        sha256=package.sha256,
        name=package.file_name,
    )


def _load_release(
    suite: Suite, downloads: Downloads, certs: Sequence[pysequoia.Cert], now: datetime
) -> Release:
    name = f"InRelease of {suite.name} at {suite.mirror}"
    try:
        signed = downloads.read_unsigned(f"{suite.url}/InRelease")
    except NotFoundError:
        variable = SECURITY_VARIABLE if suite.name.endswith("-security") else MIRROR_VARIABLE
        raise NotFoundError(
            f"no {suite.name} at {suite.mirror}: set {variable} to a mirror that has it"
        ) from None
    text = verified_text(signed, certs, name=name).decode("utf-8", "replace")
    return parse_release(text, codename=suite.name, name=name, now=now)


def _load_packages(suite: Suite, release: Release, architecture: str, downloads: Downloads) -> str:
    file = release.file(f"main/binary-{architecture}/Packages.xz")
    folder = file.path.rpartition("/")[0]
    urls = [f"{suite.url}/{file.path}"]
    if release.by_hash:
        # Not changed under our feet while the mirror is updated.
        urls.insert(0, f"{suite.url}/{folder}/by-hash/SHA256/{file.sha256}")
    name = f"Packages.xz of {suite.name}"
    path = downloads.fetch(Wanted(tuple(urls), file.size_bytes, file.sha256, name))
    with open(path, "rb") as stream, decompress(stream, name=name) as content:
        return content.read().decode("utf-8", "replace")
