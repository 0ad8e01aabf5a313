"""What a build of stock buildx brings from, and takes to, places of the client's own."""

import io
import json
import os
import re
import tarfile
from typing import Literal

import pytest

from tests.interop.buildx.client import Buildx
from tests.interop.buildx.test_build import ended
from tests.registry import Registry

pytestmark = pytest.mark.interop

_RANDOM = "FROM busybox AS made\nRUN head -c 9 /dev/urandom > /random\nRUN echo more > /more\n"


def test_a_cache_in_a_folder(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": f"{_RANDOM}FROM busybox\nCOPY --from=made /random /\n"})
    to = ("--cache-to", "type=local,dest=kept,mode=max")
    buildx.build("-t", "bx-local", *to)
    first = buildx.output_of("bx-local", "sha256sum", "/random")
    index = json.loads((buildx.folder / "kept/index.json").read_text())
    assert len(index["manifests"]) == 1
    buildx.run("image", "rm", "bx-local")
    buildx.run("buildx", "prune", "-f", "-a")
    log = buildx.build("-t", "bx-local", "--cache-from", "type=local,src=kept", *to)
    assert ended(log, "urandom") == "CACHED"
    assert ended(log, "COPY --from=made") == "CACHED"
    assert buildx.output_of("bx-local", "sha256sum", "/random") == first

    # A folder that is damaged costs a warning, never the build.
    for path in (buildx.folder / "kept/blobs/sha256").iterdir():
        path.write_bytes(b"damaged")
    buildx.run("buildx", "prune", "-f", "-a")
    log = buildx.build("--cache-from", "type=local,src=kept")
    assert "damaged" in log


def test_a_cache_in_the_image(buildx: Buildx, registry: Registry) -> None:
    buildx.write({"Dockerfile": _RANDOM})
    name = f"{registry.host}/bx/inline:1"
    buildx.build("-t", name, "--push", "--cache-to", "type=inline")
    first = buildx.output_of(name, "sha256sum", "/random")
    buildx.run("image", "rm", name)
    buildx.run("buildx", "prune", "-f", "-a")
    log = buildx.build("-t", name, "--cache-from", name)
    assert ended(log, "urandom") == "CACHED"
    assert buildx.output_of(name, "sha256sum", "/random") == first


def test_an_image_in_a_folder_is_a_base(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nENV OF=layout\nRUN echo in-layout > /l\n"})
    buildx.build("-o", "type=oci,dest=layout,tar=false", "-t", "bx-layout-base:7")
    buildx.write({"Dockerfile": "FROM base\nRUN echo $OF >> /l\nCOPY --from=base /l /again\n"})
    for name in ("layout", "layout:7"):
        words = ("--build-context", f"base=oci-layout://./{name}", "-t", "bx-layout", "--no-cache")
        buildx.build(*words)
        assert buildx.output_of("bx-layout", "cat", "/l") == "in-layout\nlayout\n"
    gone = buildx.build("--build-context", "base=oci-layout://./nowhere", check=False)
    assert "nowhere" in gone


def test_what_steps_may_use(buildx: Buildx) -> None:
    show = "RUN ulimit -n; df -k /dev/shm | tail -1; cat /proc/1/cgroup"
    buildx.write({"Dockerfile": f"FROM busybox\n{show}\n"})
    flags = ("--ulimit", "nofile=321:654", "--shm-size", "32m", "--cgroup-parent", "/kedge-bx")
    log = buildx.build("--no-cache", *flags)
    assert re.search(r"^#\d+ [\d.]+ 321$", log, re.MULTILINE), log
    assert " 32768 " in log
    assert "/kedge-bx/" in log
    assert "nosuch" in buildx.build("--ulimit", "nosuch=1", check=False)


def test_rights_have_to_be_given(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n"})
    refused = buildx.build("--no-cache", check=False)
    assert "network.host" in refused
    log = buildx.build("--no-cache", "--allow", "network.host")
    assert os.readlink("/proc/self/ns/net") in log


def test_what_an_image_says_of_itself(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN echo attested > /a\n"})
    words = ("--attest", "type=provenance,mode=max", "--attest", "type=sbom")
    buildx.build(*words, "-o", "type=oci,dest=attested,tar=false")
    blobs = [path.read_bytes() for path in (buildx.folder / "attested/blobs/sha256").iterdir()]
    documents = [json.loads(data) for data in blobs if data[:1] == b"{"]
    kinds = {each.get("predicateType", "") for each in documents}
    assert any(kind.startswith("https://slsa.dev/provenance") for kind in kinds)
    assert "https://spdx.dev/Document" in kinds
    assert any(b"attestation-manifest" in data for data in blobs)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_context_on_standard_input(buildx: Buildx, mode: Literal["w", "w:gz"]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, text in {"sub/F": "FROM busybox\nCOPY a /\n", "a": "piped", ".x": ""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    for words in (("build",), ("buildx", "build")):
        buildx.run(*words, "-t", "bx-tar", "-f", "sub/F", "-", data=buffer.getvalue())
        assert buildx.output_of("bx-tar", "cat", "/a") == "piped"


def test_a_warning_shows_its_lines(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN true\nMAINTAINER me\nENV k v\n"})
    log = buildx.run("--debug", "build", ".").stderr
    assert "2 warnings found" in log
    assert "MaintainerDeprecated" in log
    assert "(line 3)" in log
    assert ">>> MAINTAINER me" in log
    assert "docs.docker.com/go/dockerfile/rule/maintainer-deprecated" in log
