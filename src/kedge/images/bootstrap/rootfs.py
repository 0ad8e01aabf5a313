"""The file system around the packages: what is there before them, what goes after them.

Nothing here follows a link of the tree it works on: a Debian has absolute ones, and seen from the
host they lead to the host's own files.
"""

import os
import re
import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from kedge.errdefs import SystemFailureError
from kedge.images.bootstrap.recipes import File

_SLIM_EXCLUDES: Final = (
    "/usr/share/doc/*",
    "/usr/share/groff/*",
    "/usr/share/info/*",
    "/usr/share/linda/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
)
_SLIM_INCLUDES: Final = ("/usr/share/doc/*/copyright", "/usr/share/man/man[1-9]")

_APT: Final = "etc/apt/apt.conf.d"
_DPKG: Final = "etc/dpkg/dpkg.cfg.d"
_CLEAN: Final = (
    '{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb'
    ' /var/cache/apt/*.bin || true"; };'
)

# What depends on the moment or the machine, or can be had again. Paths below the root.
_PASSING: Final = re.compile(
    r"""
    (?:tmp|var/tmp|run|var/lib/apt/lists|var/cache/apt|var/cache/man)/.+
    | var/log/.+
    | var/cache/ldconfig/aux-cache
    | var/cache/debconf/[^/]+-old | var/lib/dpkg/[^/]+-old
    | var/lib/dpkg/lock.* | var/lib/dpkg/triggers/Lock
    | etc/(?:passwd|group|shadow|gshadow|subuid|subgid)- | etc/\.pwd\.lock
    | etc/machine-id | var/lib/dbus/machine-id
    | (?:.+/)?__pycache__
    # dpkg keeps links in directories that may hold something that is included.
    | usr/share/(?:groff|info|lintian|locale|man)/.+
    """,
    re.VERBOSE,
)
# Packages rely on these; what is in them goes all the same.
_KEPT_DIRECTORIES: Final = re.compile(
    r"run/lock|var/log/.+|var/lib/apt/lists/partial|var/cache/apt/archives(?:/partial)?"
    r"|usr/share/man/man[1-9]"
)


def base_files(codename: str, excludes: Iterable[str]) -> list[File]:
    """Return the configuration of dpkg and apt that container images have.

    Args:
        codename: Release of Debian.
        excludes: Paths that dpkg is never to unpack, beside documentation.
    """
    lines = [f"path-exclude {pattern}" for pattern in (*_SLIM_EXCLUDES, *excludes)]
    lines += [f"path-include {pattern}" for pattern in _SLIM_INCLUDES]
    clean = f"DPkg::Post-Invoke {_CLEAN}\nAPT::Update::Post-Invoke {_CLEAN}\n"
    return [
        File(path=f"{_DPKG}/docker", text="\n".join([*lines, ""])),
        File(path=f"{_DPKG}/docker-apt-speedup", text="force-unsafe-io\n"),
        File(path=f"{_APT}/docker-autoremove-suggests", text=_AUTOREMOVE),
        File(path=f"{_APT}/docker-clean", text=clean + _NO_PACKAGE_CACHE),
        File(path=f"{_APT}/docker-gzip-indexes", text=_GZIP_INDEXES),
        File(path=f"{_APT}/docker-no-languages", text='Acquire::Languages "none";\n'),
        File(path="etc/apt/sources.list.d/debian.sources", text=_sources(codename)),
        # Services are not started by installing them: there is no init here.
        File(path="usr/sbin/policy-rc.d", text="#!/bin/sh\n\nexit 101\n", mode=0o755),
        File(path="var/lib/dpkg/status"),
        File(path="var/lib/dpkg/available"),
    ]


_AUTOREMOVE: Final = 'Apt::AutoRemove::SuggestsImportant "false";\n'
_NO_PACKAGE_CACHE: Final = 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
_GZIP_INDEXES: Final = 'Acquire::GzipIndexes "true";\nAcquire::CompressionTypes::Order:: "gz";\n'


def _sources(codename: str) -> str:
    signed_by = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    return (
        "Types: deb\nURIs: http://deb.debian.org/debian\n"
        f"Suites: {codename} {codename}-updates\nComponents: main\n{signed_by}\n"
        "Types: deb\nURIs: http://deb.debian.org/debian-security\n"
        f"Suites: {codename}-security\nComponents: main\n{signed_by}"
    )


def is_excluded(path: str, excludes: Iterable[str]) -> bool:
    """Tell whether dpkg, configured by `base_files`, would leave out ``path``.

    Args:
        path: Below the root, without a slash at the beginning.
        excludes: As given to `base_files`.
    """
    full = f"/{path}"
    if any(fnmatchcase(full, pattern) for pattern in _SLIM_INCLUDES):
        return False
    return any(fnmatchcase(full, pattern) for pattern in (*_SLIM_EXCLUDES, *excludes))


def make_base_directories(root: str, architecture: str) -> None:
    """Make what must be there before the first package: merged /usr, places of dpkg and man."""
    names = ["bin", "sbin", "lib", *(["lib64"] if architecture == "amd64" else [])]
    for name in names:
        os.makedirs(f"{root}/usr/{name}", 0o755, exist_ok=True)
        os.symlink(f"usr/{name}", f"{root}/{name}")
    for section in range(1, 9):
        os.makedirs(f"{root}/usr/share/man/man{section}", 0o755, exist_ok=True)
    for name in ("info", "updates", "triggers", "alternatives", "parts"):
        os.makedirs(f"{root}/var/lib/dpkg/{name}", 0o755, exist_ok=True)


def make_plain_directories(root: str) -> None:
    """Make what a system without a base package has."""
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "usr/bin", "usr/sbin", "var"):
        os.makedirs(f"{root}/{name}", 0o755, exist_ok=True)
    for name, mode in (("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)):
        os.mkdir(f"{root}/{name}")
        os.chmod(f"{root}/{name}", mode)


def write_files(root: str, files: Iterable[File]) -> None:
    """Write files and links below ``root``; missing directories are made.

    Raises:
        SystemFailureError: The host refuses, or a parent is a link.
    """
    for file in files:
        full = f"{root}/{file.path}"
        try:
            parent = root
            for part in file.path.split("/")[:-1]:
                parent = f"{parent}/{part}"
                if os.path.islink(parent):
                    raise SystemFailureError(f"cannot write {file.path}: /{part} is a link")
                if not os.path.isdir(parent):
                    os.mkdir(parent, 0o755)
            if file.link:
                os.symlink(file.link, full)
                continue
            descriptor = os.open(
                full, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, file.mode
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                os.fchmod(descriptor, file.mode)
                stream.write(file.text)
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise SystemFailureError(f"cannot write {file.path} of the image: {cause}") from error


def remove_passing(root: str) -> None:
    """Remove what depends on the moment of making, is a cache, or belongs to one machine only."""
    for folder, folders, files in os.walk(root):
        relative = folder[len(root) + 1 :]
        prefix = f"{relative}/" if relative else ""
        for name in files:
            if _PASSING.fullmatch(prefix + name):
                os.unlink(f"{folder}/{name}")
        for name in tuple(folders):
            path, full = prefix + name, f"{folder}/{name}"
            if not _PASSING.fullmatch(path) or _KEPT_DIRECTORIES.fullmatch(path):
                continue
            folders.remove(name)
            if os.path.islink(full):
                os.unlink(full)
            else:
                shutil.rmtree(full)
