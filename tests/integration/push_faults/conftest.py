"""A registry that can be written to and misbehaves on request, and a store to push from."""

import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kedge.distribution.credentials import ANONYMOUS, Credentials
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.progress import PullEvent, PushedTag
from kedge.distribution.push import Pusher
from kedge.distribution.transport import Timeouts, Transport
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference
from tests.integration.pull_faults.conftest import (
    FakeRegistry,
    Handler,
    Received,
    Reply,
    World,
    digest_of,
    error,
)

METHOD = ":method"
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/(\d*)")
_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")


class WritableRegistry(FakeRegistry):
    """Keeps blobs by repository, as real ones do, and takes uploads in every way."""

    def __init__(self) -> None:
        self.repositories: dict[str, set[str]] = {}
        self.uploads: dict[str, bytes] = {}
        self.cuts: list[int] = []
        """For each PATCH to come: how many bytes of it arrive before the connection breaks."""
        self.mounts = True
        self._numbers = itertools.count(1)
        super().__init__()

    def asked(self, method: str, part: str = "") -> list[Received]:
        return [r for r in self.received if r.headers[METHOD] == method and part in r.path]

    def reply(self, request: Received) -> Reply:
        for rule in list(self.rules):
            found = rule(request)
            if found is not None:
                return found
        url = urlsplit(request.path)
        upload = _UPLOAD.fullmatch(url.path)
        if upload:
            return self._upload(request, upload[1], upload[2], parse_qs(url.query))
        manifest = _MANIFEST.fullmatch(url.path)
        if manifest and request.headers[METHOD] == "PUT":
            return self._put_manifest(request, manifest[1], manifest[2])
        blob = _BLOB.fullmatch(url.path)
        if blob and blob[2] not in self.repositories.get(blob[1], set()):
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        saved, self.rules = self.rules, []
        try:
            return super().reply(request)
        finally:
            self.rules = saved

    def received_part(self, path: str, data: bytes) -> None:
        """Keep what came of an upload before its connection broke."""
        upload = _UPLOAD.fullmatch(urlsplit(path).path)
        assert upload
        self.uploads[upload[2]] += data

    def _upload(
        self, request: Received, name: str, number: str, query: dict[str, list[str]]
    ) -> Reply:
        if request.headers[METHOD] == "POST":
            wanted = query.get("mount", [""])[0]
            source = self.repositories.get(query.get("from", [""])[0], set())
            if self.mounts and wanted in source:
                self.repositories.setdefault(name, set()).add(wanted)
                return Reply(status=201)
            number = str(next(self._numbers))
            self.uploads[number] = b""
            return self._progress(202, name, number)
        if number not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.headers[METHOD] == "GET":
            return self._progress(204, name, number)
        start = request.headers.get("content-range", "").partition("-")[0]
        if start and int(start) != len(self.uploads[number]):
            return error(416, "BLOB_UPLOAD_INVALID", "upload resumed at wrong offset")
        self.uploads[number] += request.body
        if request.headers[METHOD] == "PATCH":
            return self._progress(202, name, number)
        data = self.uploads.pop(number)
        (digest,) = query["digest"]
        if digest_of(data) != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.repositories.setdefault(name, set()).add(self.put_blob(data))
        return Reply(status=201)

    def _progress(self, status: int, name: str, number: str) -> Reply:
        size = len(self.uploads[number])
        return Reply(
            status=status,
            headers={
                "Location": f"/v2/{name}/blobs/uploads/{number}?_state={size}",
                "Range": f"0-{max(size - 1, 0)}",
            },
        )

    def _put_manifest(self, request: Received, name: str, tag: str) -> Reply:
        digest = self.put_manifest(name, tag, request.headers["content-type"], request.body)
        return Reply(status=201, headers={"Docker-Content-Digest": digest})

    def _handler(self) -> type[Handler]:
        return type("WritableHandler", (WritableHandler,), {"registry": self})


class WritableHandler(Handler):
    """The methods of a push."""

    registry: WritableRegistry  # pyright: ignore[reportIncompatibleVariableOverride] - narrower

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if self.command == "PATCH" and self.registry.cuts:
            part = self.rfile.read(self.registry.cuts.pop(0))
            self.registry.received_part(self.path, part)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Received(self.path, {**headers, METHOD: self.command}, body)
        self.registry.received.append(request)
        self._send(self.registry.reply(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the library's names

    def _send_body(self, reply: Reply) -> None:
        if self.command != "HEAD" and reply.status != 204:
            super()._send_body(reply)


class PushWorld(World):
    """An engine's stores, its puller and its pusher."""

    pusher: Pusher

    def open(
        self,
        settings: RegistrySettings,
        timeouts: Timeouts = Timeouts(5, 5),  # noqa: B008
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().open(settings, timeouts, clock)
        self.pusher = Pusher(self.images, settings, transport=Transport(timeouts=timeouts))

    def close(self) -> None:
        if self.database:
            self.pusher.close()
        super().close()

    def push(
        self,
        name: str,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        cancel: threading.Event | None = None,
    ) -> list[PushedTag]:
        self.events: list[PullEvent] = []
        return self.pusher.push(
            parse_reference(name),
            platform=platform,
            credentials=credentials,
            progress=self.events.append,
            cancel=cancel,
        )

    def take(self, source: str, *targets: str) -> None:
        """Pull an image and give it more names."""
        result = self.pull(source)
        for target in targets:
            self.images.tag(result.image.id, parse_reference(target))


@pytest.fixture
def source() -> Iterator[FakeRegistry]:
    """Where images come from."""
    server = FakeRegistry()
    yield server
    server.close()


@pytest.fixture
def target() -> Iterator[WritableRegistry]:
    """Where images go to."""
    server = WritableRegistry()
    yield server
    server.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PushWorld]:
    opened = PushWorld(tmp_path / "engine")
    yield opened
    opened.close()
