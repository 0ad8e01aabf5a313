"""Provenance and bills of materials, as a registry and an OCI layout hold them."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.lib.fields import items, mapping, text
from tests.engine import Engine
from tests.registry import Registry

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

pytestmark = [pytest.mark.integration, pytest.mark.interop]

FILES = {
    "var/lib/dpkg/status": (
        "Package: libc6\nStatus: install ok installed\nMaintainer: GNU <g@x.org>\n"
        "Architecture: amd64\nVersion: 2.36-9+deb12u1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    ),
    "etc/os-release": 'NAME="Debian"\nID=debian\n',
    "lib/apk/db/installed": "C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\n",
    "usr/lib/python3/site-packages/Flask_Login-0.6.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6\nLicense: MIT\n\nText\n"
    ),
    "app/node_modules/@scope/tool/package.json": (
        '{"name": "@scope/tool", "version": "3.0.0", "license": "ISC"}'
    ),
    "app/node_modules/@scope/tool/test/package.json": '{"name": "fixture", "version": "9"}',
}


@pytest.fixture
def filled(context: Path) -> Path:
    for name, content in FILES.items():
        path = context / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (context / "Dockerfile").write_text(
        "FROM busybox\nARG TOKEN\nCOPY root /\nRUN echo $TOKEN > /token\n"
    )
    return context


class Layout:
    """The documents of an OCI archive."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self.files: dict[str, bytes] = {}
            for member in archive:
                taken = archive.extractfile(member)
                if taken is not None:
                    self.files[member.name] = taken.read()

    def read(self, digest: str) -> "JsonObject":
        found: JsonObject = json.loads(self.files[f"blobs/{digest.replace(':', '/')}"])
        return found

    def index(self) -> "JsonObject":
        named: JsonObject = json.loads(self.files["index.json"])
        return self.read(text(items(named, "manifests")[0], "digest"))

    def statements(self) -> "dict[str, JsonObject]":
        image, attested = items(self.index(), "manifests")
        assert text(attested, "platform", "os") == "unknown"
        assert mapping(attested, "annotations") == {
            "vnd.docker.reference.digest": text(image, "digest"),
            "vnd.docker.reference.type": "attestation-manifest",
        }
        manifest = self.read(text(attested, "digest"))
        found: dict[str, JsonObject] = {}
        for layer in items(manifest, "layers"):
            assert text(layer, "mediaType") == "application/vnd.in-toto+json"
            statement = self.read(text(layer, "digest"))
            kind = text(statement, "predicateType")
            assert mapping(layer, "annotations") == {"in-toto.io/predicate-type": kind}
            subject = mapping(items(statement, "subject")[0], "digest")
            assert f"sha256:{subject['sha256']}" == text(image, "digest")
            found[kind] = mapping(statement, "predicate")
        return found


def attested(engine: Engine, context: Path, out: Path, *flags: str) -> "dict[str, JsonObject]":
    engine.kedge("build", "-t", "app:1", *flags, "-o", f"type=oci,dest={out}", str(context))
    return Layout(out).statements()


def test_the_packages_of_an_image(shared_engine: Engine, filled: Path, tmp_path: Path) -> None:
    found = attested(shared_engine, filled, tmp_path / "o.tar", "--sbom", "true")
    document = found["https://spdx.dev/Document"]
    assert document["spdxVersion"] == "SPDX-2.3"
    urls = {
        text(reference, "referenceLocator")
        for package in items(document, "packages")
        for reference in items(package, "externalRefs")
    }
    assert urls == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64",
        "pkg:apk/debian/musl@1.2.4-r2?arch=x86_64",
        "pkg:pypi/flask-login@0.6",
        "pkg:npm/%40scope/tool@3.0.0",
    }
    ids = [text(package, "SPDXID") for package in items(document, "packages")]
    assert len(set(ids)) == len(ids)


def test_where_an_image_comes_from(shared_engine: Engine, filled: Path, tmp_path: Path) -> None:
    secret = ("--build-arg", "TOKEN=hush")
    found = attested(shared_engine, filled, tmp_path / "1.tar", "--provenance", "true", *secret)
    least = found["https://slsa.dev/provenance/v1"]
    assert "hush" not in json.dumps(least)
    assert "Dockerfile" in json.dumps(least)
    dependencies = items(least, "buildDefinition", "resolvedDependencies")
    assert text(dependencies[0], "uri").startswith("pkg:docker/busybox@latest?platform=linux%2F")
    most = attested(
        shared_engine, filled, tmp_path / "2.tar", *secret,
        "--attest", "type=provenance,mode=max,version=v0.2,builder-id=me",
    )["https://slsa.dev/provenance/v0.2"]  # fmt: skip
    assert mapping(most, "invocation", "parameters", "args")["build-arg:TOKEN"] == "hush"
    assert text(most, "builder", "id") == "me"
    assert len(items(most, "buildConfig", "steps")) == 2
    again = ("--provenance", "mode=max", "--sbom", "true")
    epoch = ("--build-arg", "SOURCE_DATE_EPOCH=1000000000")
    for name in ("3.tar", "4.tar"):
        attested(shared_engine, filled, tmp_path / name, *again, *epoch)
    assert (tmp_path / "3.tar").read_bytes() == (tmp_path / "4.tar").read_bytes()


def test_an_image_with_attestations_is_pulled_as_the_image(
    shared_engine: Engine, registry: Registry, filled: Path, tmp_path: Path
) -> None:
    name = f"{registry.host}/attested:1"
    shared_engine.kedge(
        "build", "-t", name, "--sbom", "true", "--provenance", "mode=max", "-o", "type=registry",
        str(filled),
    )  # fmt: skip
    copied = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{copied}:1"],
        check=True,
    )
    shared_engine.kedge("pull", "-q", name)
    shared_engine.kedge("run", "--rm", name, "cat", "/etc/os-release")
    shared_engine.kedge("rmi", name)
    out = tmp_path / "out"
    shared_engine.kedge("build", "--sbom", "true", "-o", str(out), str(filled))
    assert json.loads((out / "sbom.spdx.json").read_text())["predicateType"].endswith("Document")


def test_what_cannot_be_attested(shared_engine: Engine, filled: Path) -> None:
    said = shared_engine.kedge("build", "--sbom", "true", "-t", "plain:1", str(filled)).stdout
    assert "attestations need an output that holds an index" in said
    shared_engine.kedge("rmi", "plain:1")
    for flags, message in (
        (("--sbom", "generator=syft"), "sbom generator syft is not run"),
        (("--provenance", "mode=all"), "use min or max"),
        (("--attest", "type=vex"), "type must be one of provenance, sbom"),
        (("--provenance", "version=v2"), "use v1 or v0.2"),
    ):
        done = shared_engine.kedge("build", *flags, str(filled), check=False)
        assert message in done.stderr, flags
        assert done.returncode != 0
    quiet = shared_engine.kedge("build", "-q", "--provenance", "false", str(filled))
    assert "attestations" not in quiet.stdout
