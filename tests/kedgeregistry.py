"""``kedge registry serve`` on a free loopback port, and a plain HTTP client for it."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from kedge.oci.hashing import sha256_digest

KEDGE = str(Path(sys.executable).with_name("kedge"))
OCTETS = {"Content-Type": "application/octet-stream"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Answer(NamedTuple):
    """A response, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of the specification."""
        return str(json.loads(self.body)["errors"][0]["code"])


class KedgeRegistry:
    """One registry process; started by `start`, which may be called again after `kill`."""

    def __init__(self, root: Path, *flags: str) -> None:
        self.root = root
        self.flags = flags
        self.environ: dict[str, str] = {}
        self.host = "127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, first: str = "") -> None:
        """Start it and wait for its greeting; the address stays over restarts.

        Args:
            first: How the line begins that it says before its greeting, if it says one.
        """
        self._process = subprocess.Popen(
            self._words(), stderr=subprocess.PIPE, text=True, env={**os.environ, **self.environ}
        )
        if first:
            said = self.next_line()
            assert said.startswith(first), said
        greeting = self.next_line()
        found = re.search(r" on https?://(\S+)", greeting)
        assert found is not None, greeting
        self.host = found[1]

    def refuses_to_start(self) -> str:
        """Return what it says when it cannot start."""
        done = subprocess.run(
            self._words(), stderr=subprocess.PIPE, text=True, env={**os.environ, **self.environ},
            check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode != 0
        return done.stderr

    def collect(self) -> str:
        """Let it collect garbage; return what it says."""
        self.send(signal.SIGUSR1)
        return self.next_line()

    def local_blobs(self) -> dict[str, int]:
        """Return the blobs on its disk with their sizes."""
        directory = self.root / "registry/content/blobs/sha256"
        return {f"sha256:{file.name}": file.stat().st_size for file in directory.iterdir()}

    def _words(self) -> list[str]:
        return [
            KEDGE, "registry", "serve",
            "--listen", self.host, "--root", str(self.root / "registry"), *self.flags,
        ]  # fmt: skip

    def next_line(self) -> str:
        """Return the next line it says."""
        assert self._process is not None
        assert self._process.stderr is not None
        return self._process.stderr.readline()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop it as a person would; idempotent."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.send_signal(number)
        self._process.wait(timeout=60)
        self._process.stderr.close()
        self._process = None


class Client:
    """Asks a registry on one connection."""

    def __init__(
        self, host: str, *, authorization: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.headers = {"Authorization": authorization} if authorization else {}
        self.connection: http.client.HTTPConnection = (
            http.client.HTTPConnection(host, timeout=30)
            if tls is None
            else http.client.HTTPSConnection(host, timeout=30, context=tls)
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        response = self.connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())

    def push_blob(self, repository: str, data: bytes) -> str:
        digest = sha256_digest(data)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data, OCTETS)
        assert answer.status == 201, answer
        return digest

    def push_manifest(
        self, repository: str, reference: str, data: bytes, media_type: str = MANIFEST
    ) -> Answer:
        return self.ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type}
        )

    def push_image(self, repository: str, tag: str, layer: bytes = b"layer") -> str:
        """Push a small image; return its digest."""
        config = self.push_blob(repository, b"{}")
        digest = self.push_blob(repository, layer)
        data = image(config, digest, len(layer))
        answer = self.push_manifest(repository, tag, data)
        assert answer.status == 201, answer
        return answer.headers["docker-content-digest"]

    def close(self) -> None:
        self.connection.close()


def image(config: str, layer: str, layer_size: int, **more: object) -> bytes:
    """Return an image manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config, "size": 2},
            "layers": [{"mediaType": LAYER, "digest": layer, "size": layer_size}],
            **more,
        }
    ).encode()


def make_certificate(directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key),
            "-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1",
            "-config", "/dev/stdin",
        ],
        input="[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n",
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return certificate, key
