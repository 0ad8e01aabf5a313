"""Files at http(s) URLs, for ADD and for contexts: fetched, hashed on the way, checked.

A file whose digest the Dockerfile gives is only fetched when it is needed. A server that gave an
entity tag is asked whether the file changed, and an unchanged one is not sent again; its digest is
remembered for the life of the engine. Credentials go to the host of the URL and no other.
"""

import base64
import datetime as dt
import hashlib
import io
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import BinaryIO, Final, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from kedge.archive.entry import Entry, Kind
from kedge.builder.files.tree import COPY_BYTES, ROOT_ENTRY
from kedge.distribution.transport import Answer, Transport
from kedge.errdefs import DataLossError, InvalidParameterError, NotFoundError, UnavailableError

_MODE: Final = 0o600
_REMEMBERED: Final = 1000
_NOT_MODIFIED: Final = 304
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a server said of a file the last time."""

    tag: str
    digest: str
    mtime_ns: int


@dataclass(slots=True, kw_only=True)
class _Body:
    """A fetched file."""

    spool: BinaryIO
    digest: str
    size: int
    mtime_ns: int
    media_type: str


class Downloads:
    """Fetches for every build of one engine; thread-safe."""

    def __init__(self, scratch: str, transport: Transport | None = None) -> None:
        """Keep bodies in unnamed files in ``scratch`` while they are needed."""
        self._scratch = scratch
        self._transport = transport or Transport(peer="server")
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def ask(
        self, url: str, headers: Mapping[str, str], check: Callable[[], None]
    ) -> "_Known | _Body":
        """Return the body at ``url``, or what is known of it where it has not changed."""
        with self._lock:
            known = self._known.get(url)
        if known is not None:
            headers = {**headers, "if-none-match": known.tag}
        with self._send(url, headers) as answer:
            if known is not None and answer.status == _NOT_MODIFIED:
                return known
            body = self._read(url, answer, check)
            self._remember(url, answer.header("etag"), body)
        return body

    def get(self, url: str, headers: Mapping[str, str], check: Callable[[], None]) -> _Body:
        """Return the body at ``url``, whatever is known of it."""
        with self._send(url, headers) as answer:
            return self._read(url, answer, check)

    def _send(self, url: str, headers: Mapping[str, str]) -> Answer:
        plain, authorization = _split_user(url)
        sent = {**authorization, **headers}
        return self._transport.send("GET", plain, sent)

    def _read(self, url: str, answer: Answer, check: Callable[[], None]) -> _Body:
        if answer.status != _OK:
            said = f"{answer.status} {answer.reason}".strip()
            failure = NotFoundError if answer.status in (404, 410) else UnavailableError
            raise failure(f"cannot fetch {shown_url(url)}: the server answers {said}")
        expected = answer.header("content-length")
        running = hashlib.sha256()
        spool = cast("BinaryIO", tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115
        size = 0
        try:
            for chunk in answer.chunks():
                check()
                running.update(chunk)
                spool.write(chunk)
                size += len(chunk)
            spool.flush()
        except BaseException:
            spool.close()
            raise
        if expected.isdecimal() and int(expected) != size:
            spool.close()
            raise DataLossError(f"{shown_url(url)}: {size} of {expected} bytes arrived")
        return _Body(
            spool=spool,
            digest=f"sha256:{running.hexdigest()}",
            size=size,
            mtime_ns=_modified_ns(answer.header("last-modified")),
            media_type=answer.header("content-type").partition(";")[0].strip().lower(),
        )

    def _remember(self, url: str, tag: str, body: _Body) -> None:
        with self._lock:
            self._known.pop(url, None)
            if tag:
                known = _Known(tag=tag, digest=body.digest, mtime_ns=body.mtime_ns)
                self._known[url] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _split_user(url: str) -> tuple[str, dict[str, str]]:
    """Return ``url`` without user and password, and the header that says them."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    encoded = base64.b64encode(unquote(user).encode()).decode()
    plain = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return plain, {"authorization": f"Basic {encoded}"}


def shown_url(url: str) -> str:
    """Return ``url`` as messages may show it: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _modified_ns(text: str) -> int:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0, int(moment.timestamp())) * 1_000_000_000


@dataclass(slots=True, kw_only=True)
class DownloadedFile:
    """One file at a URL as a tree of that one file; close it after use.

    With a ``checksum`` nothing is fetched before the content is asked for.
    """

    downloads: Downloads
    url: str
    name: str
    headers: Mapping[str, str]
    checksum: str
    check: Callable[[], None]
    _known: _Known | None = field(default=None, init=False)
    _body: _Body | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def content_digest(self) -> str:
        """Return the digest of the file; the server is asked unless the checksum says it."""
        if self.checksum:
            return self.checksum
        with self._lock:
            if self._body is None and self._known is None:
                found = self.downloads.ask(self.url, self.headers, self.check)
                if isinstance(found, _Known):
                    self._known = found
                else:
                    self._body = found
            known = self._body or self._known
            return known.digest if known is not None else ""

    def media_type(self) -> str:
        """Return what the server calls the file; empty where it says nothing."""
        return self._fetched().media_type

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        if not path:
            return ROOT_ENTRY
        if path != self.name:
            return None
        body = self._fetched()
        return Entry(path, Kind.REGULAR, mode=_MODE, size=body.size, mtime_ns=body.mtime_ns)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the one name."""
        return (self.name,) if not path else ()

    def digest(self, path: str) -> str:
        """Return the digest of the file."""
        self._require(path)
        return self._fetched().digest

    def write_to(self, path: str, descriptor: int) -> None:
        """Copy the file inside the kernel."""
        self._require(path)
        body = self._fetched()
        offset = 0
        while sent := os.sendfile(descriptor, body.spool.fileno(), offset, COPY_BYTES):
            offset += sent

    def open(self, path: str) -> BinaryIO:
        """Open the file for reading, from its start."""
        self._require(path)
        # Through /proc the copy has a position of its own.
        descriptor = os.open(f"/proc/self/fd/{self._fetched().spool.fileno()}", os.O_RDONLY)
        return io.BufferedReader(io.FileIO(descriptor))

    def close(self) -> None:
        """Give the temporary file back."""
        if self._body is not None:
            self._body.spool.close()

    def _require(self, path: str) -> None:
        if path != self.name:
            raise NotFoundError(f"no such file: {path}")

    def _fetched(self) -> _Body:
        with self._lock:
            if self._body is None:
                self._body = self.downloads.get(self.url, self.headers, self.check)
        wanted = self.checksum or (self._known.digest if self._known is not None else "")
        if wanted and wanted != self._body.digest:
            what = "checksum of" if self.checksum else "content changed while it was fetched:"
            raise InvalidParameterError(
                f"{what} {shown_url(self.url)}: digest mismatch {self._body.digest}: "
                f"expected {wanted}"
            )
        return self._body
