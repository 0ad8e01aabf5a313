"""A registry that misbehaves on request, and a store to pull into."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from kedge.content.store import ContentStore
from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.progress import PullEvent
from kedge.distribution.pull import Puller, PullResult
from kedge.distribution.transport import Timeouts, Transport
from kedge.images.store import ImageStore
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.lib.database import Database
from kedge.oci import media_types
from kedge.oci.platforms import Platform, host_platform
from kedge.oci.references import parse_reference
from kedge.snapshots.overlay import OverlaySnapshotter


class Received(NamedTuple):
    """A request the registry got."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


@dataclass(kw_only=True)
class Reply:
    """What the registry answers; the odd fields make it misbehave."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content_length: int | None = None
    """Announced instead of the true one."""
    stall: threading.Event | None = None
    """Send half of the body, then wait for this."""
    trickle: Callable[[bytes], Iterator[bytes]] | None = None
    """Cuts the body into what is sent at a time."""
    chunked: bool = False


Rule = Callable[[Received], Reply | None]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def make_tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that gzip cannot make smaller, the same ones each time."""
    return hashlib.shake_256(b"%d" % seed).digest(size)


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """An image as it lies in the registry."""

    manifest: str
    config: str
    layers: list[str]
    diff_ids: list[str]


class QuietServer(ThreadingHTTPServer):
    """Clients hang up here; that is what the tests are about."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class FakeRegistry:
    """Serves what was put into it; rules see every request first."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.rules: list[Rule] = []
        self.received: list[Received] = []
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self, part: str = "/v2/") -> list[str]:
        """Return the paths asked for that hold ``part``, without the probe."""
        return [r.path for r in self.received if part in r.path and r.path != "/v2/"]

    def put_blob(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def put_manifest(self, name: str, tag: str, media_type: str, data: bytes) -> str:
        digest = digest_of(data)
        self.manifests[f"{name}/{tag}"] = (media_type, data)
        self.manifests[f"{name}/{digest}"] = (media_type, data)
        return digest

    def push(
        self,
        name: str,
        tag: str,
        *layers: Mapping[str, bytes],
        compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
        docker: bool = False,
        platform: Platform | None = None,
        config_changes: Mapping[str, object] | None = None,
        layer_type: str = "",
    ) -> Pushed:
        """Put an image of these files in."""
        tars = [make_tar(files) for files in layers]
        diff_ids = [digest_of(tar) for tar in tars]
        blobs = [compress(tar) for tar in tars]
        platform = platform or host_platform()
        config = json.dumps(
            {
                "architecture": platform.architecture,
                "os": platform.os,
                "config": {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                **(config_changes or {}),
            }
        ).encode()
        kind = (
            media_types.DOCKER_CONFIG,
            media_types.DOCKER_LAYER_GZIP,
            media_types.DOCKER_MANIFEST,
        )
        if not docker:
            kind = (media_types.OCI_CONFIG, media_types.OCI_LAYER_GZIP, media_types.OCI_MANIFEST)
        digests = [self.put_blob(blob) for blob in blobs]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kind[2],
                "config": {
                    "mediaType": kind[0],
                    "digest": self.put_blob(config),
                    "size": len(config),
                },
                "layers": [
                    {"mediaType": layer_type or kind[1], "digest": digest, "size": len(blob)}
                    for digest, blob in zip(digests, blobs, strict=True)
                ],
            }
        ).encode()
        return Pushed(
            manifest=self.put_manifest(name, tag, kind[2], manifest),
            config=digest_of(config),
            layers=digests,
            diff_ids=diff_ids,
        )

    def push_index(self, name: str, tag: str, entries: Sequence[tuple[str, Platform]]) -> str:
        """Put an index of manifests that are there already."""
        data = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media_types.OCI_INDEX,
                "manifests": [
                    {
                        "mediaType": self.manifests[f"{name}/{digest}"][0],
                        "digest": digest,
                        "size": len(self.manifests[f"{name}/{digest}"][1]),
                        "platform": {
                            "os": platform.os,
                            "architecture": platform.architecture,
                            "variant": platform.variant,
                        },
                    }
                    for digest, platform in entries
                ],
            }
        ).encode()
        return self.put_manifest(name, tag, media_types.OCI_INDEX, data)

    def reply(self, request: Received) -> Reply:
        """Answer as a registry should, unless a rule says otherwise."""
        for rule in list(self.rules):
            reply = rule(request)
            if reply is not None:
                return reply
        path = request.path.partition("?")[0]
        parts = path.removeprefix("/v2/").rpartition("/")
        if path == "/v2/":
            return Reply(body=b"{}")
        if parts[0].endswith("/manifests"):
            found = self.manifests.get(f"{parts[0].removesuffix('/manifests')}/{parts[2]}")
            if found:
                return Reply(body=found[1], headers={"Content-Type": found[0]})
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        blob = self.blobs.get(parts[2])
        if blob is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        start, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if start:
            end = int(last or len(blob) - 1)
            content_range = f"bytes {start}-{end}/{len(blob)}"
            return Reply(
                status=206,
                body=blob[int(start) : end + 1],
                headers={"Content-Range": content_range},
            )
        return Reply(body=blob)

    def _handler(self) -> type["Handler"]:
        return type("RegistryHandler", (Handler,), {"registry": self})


class Handler(BaseHTTPRequestHandler):
    """Turns requests into `Received` and `Reply` into bytes."""

    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Received(self.path, headers, body)
        self.registry.received.append(request)
        self._send(self.registry.reply(request))

    def do_POST(self) -> None:
        self.do_GET()

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.content_length is None else reply.content_length
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.close_connection = self.close_connection or length != len(reply.body)
        try:
            self._send_body(reply)
        except OSError:
            self.close_connection = True

    def _send_body(self, reply: Reply) -> None:
        if reply.chunked:
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(reply.body), reply.body))
            return
        if reply.trickle:
            for piece in reply.trickle(reply.body):
                self.wfile.write(piece)
            return
        half = len(reply.body) // 2 if reply.stall else len(reply.body)
        self.wfile.write(reply.body[:half])
        if reply.stall:
            self.wfile.flush()
            reply.stall.wait(30)
            self.wfile.write(reply.body[half:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def error(status: int, code: str, message: str, **headers: str) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status=status, body=body, headers=headers)


class World:
    """An engine's stores and its puller."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events = list[PullEvent]()
        self.puller: Puller | None = None
        self.database: Database | None = None
        self.open(RegistrySettings(max_attempts=3))

    def open(
        self,
        settings: RegistrySettings,
        timeouts: Timeouts = Timeouts(5, 5),  # noqa: B008
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Begin anew on the same disk, as after a restart of the engine."""
        self.close()
        self.settings = settings
        self.root.mkdir(exist_ok=True)
        self.database = Database(str(self.root / "metadata.db"))
        self.content = ContentStore(str(self.root / "content"))
        self.snapshots = OverlaySnapshotter(str(self.root / "snapshots"), self.database)
        self.images = ImageStore(self.database, self.content, self.snapshots)
        self.puller = Puller(
            self.images, settings, transport=Transport(timeouts=timeouts, clock=clock)
        )

    def close(self) -> None:
        if self.puller and self.database:
            self.puller.close()
            self.database.close()
        self.puller = self.database = None

    def pull(
        self,
        name: str,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        cancel: threading.Event | None = None,
    ) -> PullResult:
        assert self.puller is not None
        return self.puller.pull(
            parse_reference(name),
            platform=platform,
            credentials=credentials,
            progress=self.events.append,
            cancel=cancel,
        )

    def file(self, result: PullResult, name: str) -> bytes:
        """Return a file of the pulled image, as overlayfs would show it."""
        for layer in reversed(result.image.layers):
            path = Path(self.snapshots.diff_path(layer.chain_id)) / name
            if path.is_file():
                return path.read_bytes()
        raise FileNotFoundError(name)

    def statuses(self, layer: str) -> list[str]:
        """Return what was said about a layer, repetitions left out."""
        said = [e.status for e in self.events if e.id == layer.removeprefix("sha256:")[:12]]
        return [status for i, status in enumerate(said) if said[i - 1 : i] != [status]]

    def assert_nothing_recorded(self) -> None:
        """Check that a failed pull left no image and, after collection, nothing at all."""
        assert self.images.list_images(all_images=True) == []
        self.images.collect_garbage()
        assert list(self.content.walk()) == []
        assert self.snapshots.walk() == []

    def partial_files(self) -> list[Path]:
        return list((self.root / "content/ingest").iterdir())

    def partial_size(self, partial: Path) -> int:
        """Return how much of it has arrived; 0 once it is whole and has moved away."""
        try:
            return partial.stat().st_size
        except FileNotFoundError:
            return 0


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    yield server
    server.close()


@pytest.fixture
def other_registry() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    yield server
    server.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path / "engine")
    yield opened
    opened.close()
