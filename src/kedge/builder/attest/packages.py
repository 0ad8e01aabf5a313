"""The packages in an image: read from what package managers leave behind. Pure but for `scan`.

dpkg (also the split form of distroless images), apk, Python's ``dist-info`` and ``egg-info``, and
npm's ``package.json`` below ``node_modules``. What cannot be read is left out: an SBOM says what
is known.
"""

import json
import os
from collections.abc import Callable, Iterator
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import quote

from kedge.archive.layered import LayerStack
from kedge.errdefs import KedgeError

if TYPE_CHECKING:
    from kedge.lib.jsontypes import Json

_MAX_BYTES: Final = 64 << 20
_DPKG: Final = "var/lib/dpkg/status"
_DPKG_PARTS: Final = "var/lib/dpkg/status.d/"
_APK: Final = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RELEASES: Final = ("etc/os-release", "usr/lib/os-release")


class Package(NamedTuple):
    """One installed package."""

    name: str
    version: str
    kind: str
    """``deb``, ``apk``, ``pypi`` or ``npm``."""
    architecture: str = ""
    license: str = ""
    supplier: str = ""
    path: str = ""
    """The file that says so."""

    def purl(self, distribution: str) -> str:
        """Return the package URL.

        Args:
            distribution: ``ID`` of os-release, which is part of the name of its packages.
        """
        # A scope of npm is a part of the path, its sign is not.
        name = quote(self.name, safe="/" if self.kind == "npm" else "")
        space = f"{distribution}/" if self.kind in {"deb", "apk"} and distribution else ""
        arch = f"?arch={quote(self.architecture, safe='')}" if self.architecture else ""
        return f"pkg:{self.kind}/{space}{name}@{quote(self.version, safe='')}{arch}"


class Found(NamedTuple):
    """What an image holds."""

    packages: list[Package]
    distribution: str


def scan(stack: LayerStack | None, check: Callable[[], None]) -> Found:
    """Return the packages of a file system, sorted.

    Args:
        stack: The layers; None for an empty file system.
        check: Called now and then; raises when nobody waits any more.
    """
    if stack is None:
        return Found([], "")
    packages: list[Package] = []
    distribution = ""
    for count, entry in enumerate(stack.walk(stack.require("/"))):
        if count % 1000 == 0:
            check()
        parse = _parser(entry.path)
        if parse is not None:
            packages += parse(_read(stack, entry.path), entry.path)
    for path in _RELEASES:
        distribution = distribution or _distribution(_read(stack, path))
    return Found(sorted(set(packages)), distribution)


def _parser(path: str) -> "Callable[[str, str], Iterator[Package]] | None":
    if path == _DPKG or (path.startswith(_DPKG_PARTS) and not path.endswith(".md5sums")):
        return parse_dpkg
    if path in _APK:
        return parse_apk
    folder, _, name = path.rpartition("/")
    if name in {"METADATA", "PKG-INFO"} and folder.endswith((".dist-info", ".egg-info")):
        return parse_python
    if name == "package.json" and "node_modules/" in path:
        return parse_npm
    return None


def _read(stack: LayerStack, path: str) -> str:
    try:
        node = stack.lookup(path)
        if node is None:
            return ""
        with os.fdopen(stack.open_file(node), "rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except (KedgeError, OSError):
        return ""


def _distribution(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("ID="):
            return line[3:].strip().strip("\"'").lower()
    return ""


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a Debian control file."""
    fields: dict[str, str] = {}
    for line in (*text.splitlines(), ""):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()


def parse_dpkg(text: str, path: str) -> Iterator[Package]:
    """Yield the installed packages of dpkg's status."""
    for fields in _stanzas(text):
        status = fields.get("status", "install ok installed")
        if fields.get("package") and fields.get("version") and status.endswith(" installed"):
            yield Package(
                fields["package"],
                fields["version"],
                "deb",
                fields.get("architecture", ""),
                supplier=fields.get("maintainer", ""),
                path=path,
            )


def parse_apk(text: str, path: str) -> Iterator[Package]:
    """Yield the packages of apk's database."""
    for block in text.split("\n\n"):
        fields = {line[:1]: line[2:].strip() for line in block.splitlines() if line[1:2] == ":"}
        if fields.get("P") and fields.get("V"):
            yield Package(
                fields["P"],
                fields["V"],
                "apk",
                fields.get("A", ""),
                fields.get("L", ""),
                fields.get("m", ""),
                path,
            )


def parse_python(text: str, path: str) -> Iterator[Package]:
    """Yield the distribution that a ``METADATA`` file describes."""
    head = HeaderParser().parsestr(text.partition("\n\n")[0])
    name, version = head.get("Name", ""), head.get("Version", "")
    if name and version:
        declared = head.get("License-Expression", "") or head.get("License", "")
        normal = name.lower().replace("_", "-")
        yield Package(normal, version, "pypi", license=declared.strip(), path=path)


def parse_npm(text: str, path: str) -> Iterator[Package]:
    """Yield the package that a ``package.json`` describes."""
    try:
        document = cast("Json", json.loads(text))
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    name, version, declared = (document.get(key) for key in ("name", "version", "license"))
    # Only the file beside the package's own files: packages carry examples and fixtures.
    is_own = isinstance(name, str) and path.endswith(f"node_modules/{name}/package.json")
    if is_own and isinstance(name, str) and isinstance(version, str) and version:
        shown = declared if isinstance(declared, str) else ""
        yield Package(name, version, "npm", license=shown, path=path)
