"""One HTTP exchange at a time: TLS trust, proxies, time-outs, redirects that keep secrets home.

Runs in worker threads; connections are kept and shared. It knows nothing of registries beyond
the words of its messages, and retries nothing.
"""

import os
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Self, TypeAlias
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout, make_headers

from kedge import __version__
from kedge.distribution.failures import ConnectionFailedError, describe_connection_failure
from kedge.distribution.proxies import find_proxy
from kedge.distribution.trust import (
    CERTS_DIRECTORIES,
    VERIFIED,
    Certificates,
    Trust,
    find_certificates,
    make_context,
)
from kedge.errdefs import UnavailableError
from kedge.lib.clock import SYSTEM_CLOCK, Clock

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 8
_HARMLESS: Final = frozenset({"user-agent", "accept", "accept-encoding", "range"})
"""Headers that another host may see."""
_CONNECTIONS_PER_HOST: Final = 8
_CHUNK_BYTES: Final = 1 << 18
_KEPT_POOLS: Final = 32

Body: TypeAlias = "bytes | Iterable[bytes] | None"
"""What a request carries; pieces need a ``content-length`` among the headers."""


class Timeouts(NamedTuple):
    """How long to wait for a host, in seconds."""

    connect_s: float = 15.0
    read_s: float = 60.0
    """Between two pieces of an answer, not for the whole."""
    slow_s: float = 60.0
    """How often it is looked at whether an answer's body still comes fast enough."""
    slow_bytes: int = 60 << 10
    """What at least has to come in that time: a server that trickles is as good as none."""


_TIMEOUTS: Final = Timeouts()


class Answer:
    """A response whose body is still to be read; a context manager that ends it."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, address: str, peer: str, pace: "_Pace"
    ) -> None:
        self._response = response
        self._peer = peer
        self._address = address
        self._pace = pace
        self._finished = False
        self._failure: ConnectionFailedError | None = None
        self.status = response.status
        self.reason = response.reason or ""

    def header(self, name: str) -> str:
        """Return a header, or an empty string."""
        return self._response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """Return every header of that name."""
        return list(self._response.headers.getlist(name))

    def chunks(self) -> "AnswerChunks":
        """Return an iterator over the body.

        It raises ConnectionFailedError when the body breaks off.
        """
        return AnswerChunks(self)

    def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            UnavailableError: It is longer than ``limit`` bytes.
            ConnectionFailedError: It broke off.
        """
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            parts.append(chunk)
            total += len(chunk)
            if total > limit:
                raise UnavailableError(
                    f"{self._peer} {self._address} sends a document of more than {limit} bytes"
                )
        return b"".join(parts)

    def next_chunk(self) -> bytes:
        """Return the next piece of the body; empty at its end.

        Raises:
            ConnectionFailedError: It broke off, or comes too slowly to be worth waiting for.
        """
        if self._failure is not None:
            raise self._failure
        pieces: list[bytes] = []
        missing = _CHUNK_BYTES
        try:
            while missing > 0:
                # Not as many bytes as asked for, but what is there: a trickle must be seen as one.
                piece = self._read_some(missing)
                if not piece:
                    self._finished = True
                    break
                pieces.append(piece)
                missing -= len(piece)
        except ConnectionFailedError as error:
            self._finished = True
            if not pieces:
                raise
            # What came before is good; the next call says how it ended.
            self._failure = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_some(self, size: int) -> bytes:
        since = self._pace.now()
        try:
            piece = self._response.read1(size, decode_content=False)
        except (HTTPError, OSError) as error:
            raise describe_connection_failure(error, self._address, peer=self._peer) from error
        if piece and self._pace.is_too_slow(len(piece), since):
            raise ConnectionFailedError(
                f"{self._peer} {self._address} is too slow: less than"
                f" {self._pace.least_bytes} bytes in {self._pace.window_s:.0f} s",
                may_retry=True,
            )
        return piece

    def abort(self) -> None:
        """Make a read in another thread fail now."""
        # A duplicate, so that TLS state of the reading thread is not touched from here.
        with (
            suppress(OSError, ValueError),
            socket.socket(fileno=os.dup(self._response.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        if self._finished:
            self._response.release_conn()
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AnswerChunks:
    """Iterates over an answer's body."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> "AnswerChunks":
        return self

    def __next__(self) -> bytes:
        chunk = self._answer.next_chunk()
        if not chunk:
            raise StopIteration
        return chunk


class _Pace:
    """Whether a body comes fast enough, judged window by window of the time it is waited for.

    What whoever reads does in between is not the server's slowness.
    """

    def __init__(self, timeouts: Timeouts, clock: Clock) -> None:
        self.window_s = timeouts.slow_s
        self.least_bytes = timeouts.slow_bytes
        self._clock = clock
        self._waited_s = 0.0
        self._received = 0

    def now(self) -> float:
        """Return when a wait begins."""
        return self._clock.monotonic()

    def is_too_slow(self, size: int, since: float) -> bool:
        """Count ``size`` more bytes, waited for ``since`` then."""
        self._received += size
        self._waited_s += self._clock.monotonic() - since
        if self._waited_s < self.window_s:
            return False
        received, self._received, self._waited_s = self._received, 0, 0.0
        return received < self.least_bytes


class Transport:
    """Sends requests; thread-safe."""

    def __init__(
        self,
        *,
        timeouts: Timeouts = _TIMEOUTS,
        environ: Mapping[str, str] = os.environ,
        peer: str = "registry",
        certs_directories: Sequence[str] = CERTS_DIRECTORIES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Make no connection yet.

        Args:
            timeouts: How long to wait.
            environ: Names the proxies.
            peer: What messages call the servers.
            certs_directories: Hold the certificates of single hosts.
            clock: Tells how slow a server is.
        """
        self._peer = peer
        self._timeouts = timeouts
        self._clock = clock
        self._certs_directories = certs_directories
        self._timeout = Timeout(connect=timeouts.connect_s, read=timeouts.read_s)
        self._environ = environ
        self._pools: dict[tuple[str, Certificates], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        trust: Trust = VERIFIED,
        body: Body = None,
    ) -> Answer:
        """Send a request, follow redirects, and return the answer whatever its status is.

        ``Authorization``, and whatever else may be secret, goes to the host of ``url`` and to no
        other. A body in pieces can be sent once, so such a request is not redirected.

        Raises:
            ConnectionFailedError: There is no answer; the message names host, port and cause.
            UnavailableError: Redirects in a circle, or to a place that must not be followed.
        """
        sent = {"user-agent": f"kedge/{__version__}", "accept-encoding": "identity", **headers}
        for _ in range(_MAX_REDIRECTS):
            answer = self._send_once(method, url, sent, trust=trust, body=body)
            location = answer.header("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            if body is not None and not isinstance(body, bytes):
                return answer
            answer.close()
            target = urljoin(url, location)
            check_redirect(url, target, self._peer, verify_tls=trust.verify)
            if not has_same_origin(target, url):
                sent = {k: v for k, v in sent.items() if k.lower() in _HARMLESS}
            url = target
        raise UnavailableError(f"{self._peer} {_address(url)} redirects in a circle")

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        trust: Trust,
        body: Body,
    ) -> Answer:
        address = _address(url)
        proxy = find_proxy(url, self._environ)
        certificates = find_certificates(
            urlsplit(url).netloc.rpartition("@")[2], trust, self._certs_directories
        )
        try:
            response = self._pool(proxy, certificates).urlopen(
                method,
                url,
                headers=headers,
                body=body,
                timeout=self._timeout,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            through = f"{address} through proxy {_address(proxy)}" if proxy else address
            raise describe_connection_failure(error, through, peer=self._peer) from error
        return Answer(response, address, self._peer, _Pace(self._timeouts, self._clock))

    def _pool(self, proxy: str, certificates: Certificates) -> urllib3.PoolManager:
        with self._lock:
            pool = self._pools.get((proxy, certificates))
            if pool is None:
                if len(self._pools) >= _KEPT_POOLS:
                    self._pools.clear()
                pool = self._pools[proxy, certificates] = _make_pool(proxy, certificates)
            return pool


class _UnverifiedConnection(HTTPSConnection):
    """A TLS connection to a registry that is listed as insecure.

    urllib3 would warn at each request of what the configuration says on purpose.
    """

    def connect(self) -> None:
        super().connect()
        self.is_verified = True


class _UnverifiedPool(HTTPSConnectionPool):
    ConnectionCls = _UnverifiedConnection  # pyright: ignore[reportAssignmentType] - as urllib3 does


def _make_pool(proxy: str, certificates: Certificates) -> urllib3.PoolManager:
    context = make_context(certificates)
    if proxy:
        user = urlsplit(proxy).netloc.rpartition("@")[0]
        pool: urllib3.PoolManager = urllib3.ProxyManager(
            proxy,
            maxsize=_CONNECTIONS_PER_HOST,
            ssl_context=context,
            proxy_headers=make_headers(proxy_basic_auth=unquote(user)) if user else None,
        )
    else:
        pool = urllib3.PoolManager(maxsize=_CONNECTIONS_PER_HOST, ssl_context=context)
    if not certificates.verify:
        pool.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _UnverifiedPool}
    return pool


def check_redirect(url: str, target: str, peer: str, *, verify_tls: bool) -> None:
    """Refuse to follow a server to where its secrets would be in the open.

    Raises:
        UnavailableError: ``target`` is no HTTP, or plain HTTP after TLS.
    """
    scheme = urlsplit(target).scheme
    if scheme not in {"http", "https"}:
        raise UnavailableError(f"{peer} {_address(url)} redirects to {scheme or 'nowhere'}")
    if verify_tls and scheme == "http" and urlsplit(url).scheme == "https":
        raise UnavailableError(
            f"{peer} {_address(url)} redirects from https to http, which is not followed"
        )


def has_same_origin(one: str, other: str) -> bool:
    """Tell whether what may be sent to one URL may be sent to the other."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def _address(url: str) -> str:
    _, host, port = _origin(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
