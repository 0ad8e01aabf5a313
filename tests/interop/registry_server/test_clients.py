"""docker, skopeo and Debian's registry against ``kedge registry serve``, in all directions."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from kedge.lib.jsontypes import Json, JsonObject
from tests.engine import DOCKER, Engine
from tests.kedgeregistry import Client, KedgeRegistry
from tests.registry import Registry

pytestmark = [pytest.mark.interop, pytest.mark.integration]

SKOPEO = shutil.which("skopeo")


def run(*words: str, stdin: str | None = None, **environ: str) -> str:
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedgeRegistry]:
    root = tmp_path_factory.mktemp("registry")
    hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()
    (root / "users").write_text(f"ann:{hashed}\n")
    made = KedgeRegistry(root, "--htpasswd", str(root / "users"), "--anonymous-pull")
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An OCI layout with an image of two layers."""
    if SKOPEO is None:
        pytest.skip("skopeo is not installed")
    root = tmp_path_factory.mktemp("layout")
    archive = root / "archive"
    _write_image(archive)
    return f"oci:{archive}:it"


def _write_image(directory: Path) -> None:
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    layers: list[JsonObject] = []
    diff_ids: list[Json] = []
    for number in range(2):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            data = bytes([number]) * 400_000
            info = tarfile.TarInfo(f"file{number}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        diff_ids.append(f"sha256:{hashlib.sha256(stream.getvalue()).hexdigest()}")
        digest, size = put(gzip.compress(stream.getvalue(), mtime=0))
        media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
        layers.append({"mediaType": media_type, "digest": digest, "size": size})
    config: JsonObject = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    digest, size = put(json.dumps(config).encode())
    manifest: JsonObject = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": size,
        },
        "layers": list[Json](layers),
    }
    digest, size = put(json.dumps(manifest).encode())
    entry: JsonObject = {
        "mediaType": manifest["mediaType"],
        "digest": digest,
        "size": size,
        "annotations": {"org.opencontainers.image.ref.name": "it"},
    }
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_skopeo_copies_in_out_and_deletes(
    registry: KedgeRegistry, layout: str, tmp_path: Path
) -> None:
    place = f"docker://{registry.host}/skopeo/app:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", "ann:s3cret", layout, place)
    shown = json.loads(run("skopeo", "inspect", "--tls-verify=false", place))
    assert (shown["RepoTags"], len(shown["Layers"])) == (["v1"], 2)
    run("skopeo", "copy", "--src-tls-verify=false", place, f"oci:{tmp_path}/back:it")
    back = json.loads((tmp_path / "back/index.json").read_text())
    assert back["manifests"][0]["digest"] == shown["Digest"]
    run("skopeo", "delete", "--tls-verify=false", "--creds", "ann:s3cret", place)
    client = Client(registry.host)
    assert client.ask("GET", "/v2/skopeo/app/manifests/v1").status == 404
    client.close()


def test_debians_registry_and_this_one_take_each_others_images(
    registry: KedgeRegistry, layout: str, tmp_path: Path
) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    other = Registry(tmp_path / "other")
    try:
        there = f"docker://{other.host}/theirs/app:v1"
        here = f"docker://{registry.host}/ours/app:v1"
        again = f"docker://{other.host}/again/app:v1"
        flags = ("--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds", "ann:s3cret")
        run("skopeo", "copy", "--dest-tls-verify=false", layout, there)
        run("skopeo", "copy", *flags, there, here)
        run("skopeo", "copy", *flags[:2], here, again)
        digests = {
            json.loads(run("skopeo", "inspect", "--tls-verify=false", place))["Digest"]
            for place in (there, here, again)
        }
        assert len(digests) == 1
    finally:
        other.close()


@pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed")
def test_the_docker_cli_logs_in_pushes_and_pulls(
    registry: KedgeRegistry, engine: Engine, tmp_path: Path
) -> None:
    def docker(*words: str, stdin: str | None = None) -> str:
        return run("docker", "-H", engine.host, *words, stdin=stdin, DOCKER_CONFIG=str(tmp_path))

    name = f"{registry.host}/docker/busybox:v1"
    docker("tag", "busybox", name)
    said = docker("login", "-u", "ann", "--password-stdin", registry.host, stdin="s3cret")
    assert "Login Succeeded" in said
    pushed = docker("push", name)
    assert "v1: digest: sha256:" in pushed
    assert "Layer already exists" in docker("push", name)
    docker("tag", name, f"{registry.host}/docker/other:v1")
    assert "Mounted from docker/busybox" in docker("push", f"{registry.host}/docker/other:v1")
    docker("logout", registry.host)
    docker("rmi", name, f"{registry.host}/docker/other:v1")
    pulled = docker("pull", name)
    assert pushed.partition("digest: ")[2].split()[0] in pulled
    assert docker("run", "--rm", name, "echo", "hello") == "hello\n"
