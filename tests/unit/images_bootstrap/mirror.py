"""A package mirror in memory, signed by a key of its own, and a clock to look at it by."""

import gzip
import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

import pysequoia

from kedge.errdefs import NotFoundError, UnavailableError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
URL = "http://mirror.test/debian"
SECURITY_URL = "http://mirror.test/debian-security"
KEY = pysequoia.Tsk.from_bytes(bytes(pysequoia.Tsk.generate("archive@mirror.test")))


class FixedClock:
    def time_ns(self) -> int:
        return int(NOW.timestamp()) * 1_000_000_000

    def monotonic(self) -> float:
        return 0.0


class Impatient(threading.Event):
    """A cancel event on which nobody ever waits."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class MemoryFetcher:
    """Serves documents; one that is an exception is raised, once."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self.documents = documents
        self.failures: dict[str, list[Exception]] = {}
        self.asked: list[str] = []

    @contextmanager
    def open(self, url: str) -> Generator[Iterator[bytes], None, None]:
        self.asked.append(url)
        if self.failures.get(url):
            raise self.failures[url].pop(0)
        if url not in self.documents:
            raise NotFoundError(f"package mirror has no {url}")
        data = self.documents[url]
        yield iter([data[:7], data[7:]])


def refuse() -> UnavailableError:
    return UnavailableError("cannot reach package mirror mirror.test:80: connection refused")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sign(text: str, key: pysequoia.Tsk = KEY) -> bytes:
    return pysequoia.sign(key.signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR)


def release_text(
    codename: str, files: dict[str, bytes], *, until: datetime | None = None, origin: str = "Debian"
) -> str:
    lines = [
        f"Origin: {origin}",
        "Label: Debian",
        "Version: 12.9",
        f"Codename: {codename}",
        f"Date: {format_datetime(datetime(2026, 7, 11, 10, 16, 37, tzinfo=UTC), usegmt=True)}",
        "Acquire-By-Hash: yes",
    ]
    if until is not None:
        lines.append(f"Valid-Until: {format_datetime(until, usegmt=True)}")
    lines.append("SHA256:")
    lines += [f" {sha256(data)} {len(data):>8} {path}" for path, data in files.items()]
    return "\n".join([*lines, ""])


def make_deb(files: dict[str, bytes], *, compression: str = "xz") -> bytes:
    """Return a binary package with nothing but data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    raw = buffer.getvalue()
    packed = lzma.compress(raw) if compression == "xz" else gzip.compress(raw)
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        ("data.tar." + compression, packed),
    ]
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def stanza(name: str, version: str = "1.0", **fields: str) -> str:
    lines = [
        f"Package: {name}",
        f"Version: {version}",
        "Architecture: amd64",
        f"Filename: pool/{name}_{version}_amd64.deb",
        "Size: 1",
        f"SHA256: {'0' * 64}",
        *(f"{key.replace('_', '-')}: {value}" for key, value in fields.items()),
    ]
    return "\n".join(lines) + "\n"


def add_suite(
    documents: dict[str, bytes],
    mirror: str,
    codename: str,
    packages: str,
    *,
    until: datetime | None = None,
) -> None:
    """Publish a suite whose main component has ``packages``."""
    path = "main/binary-amd64/Packages.xz"
    index = lzma.compress(packages.encode())
    folder = f"{mirror}/dists/{codename}"
    text = release_text(codename, {path: index}, until=until)
    documents[f"{folder}/InRelease"] = sign(text)
    documents[f"{folder}/main/binary-amd64/by-hash/SHA256/{sha256(index)}"] = index
    documents[f"{folder}/{path}"] = index


def whole_archive(**packages: str) -> dict[str, bytes]:
    """Return the documents of a release; keyword: suite's suffix (``main``, ``updates`` …)."""
    documents: dict[str, bytes] = {}
    add_suite(documents, URL, "bookworm", packages.get("main", stanza("hello")))
    add_suite(documents, URL, "bookworm-updates", packages.get("updates", ""))
    add_suite(documents, SECURITY_URL, "bookworm-security", packages.get("security", ""))
    return documents
