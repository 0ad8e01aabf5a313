"""What ``docker buildx`` makes beside an image in the store, and its other commands."""

import json
import tarfile

import pytest

from tests.interop.buildx.client import Buildx
from tests.registry import Registry

pytestmark = pytest.mark.interop

_SCRATCH = "FROM busybox AS make\nRUN mkdir /o && echo made > /o/file && ln -s file /o/link\n"


def test_files_come_back(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": f"{_SCRATCH}FROM scratch\nCOPY --from=make /o /o\n"})
    buildx.build("-o", "out")
    assert (buildx.folder / "out/o/file").read_text() == "made\n"
    assert (buildx.folder / "out/o/link").is_symlink()

    buildx.build("-o", "type=tar,dest=out.tar")
    with tarfile.open(buildx.folder / "out.tar") as archive:
        assert {"o/file", "o/link"} <= {name.strip("/") for name in archive.getnames()}

    to_stdout = buildx.run("build", "-q", "-o", "-", ".")
    assert "o/file" in to_stdout.stdout


def test_images_come_back_as_archives(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM scratch\nCOPY x /\n", "x": "1"})
    both = ("--platform", "linux/amd64,linux/arm64")
    buildx.build("-o", "type=oci,dest=oci.tar", *both)
    with tarfile.open(buildx.folder / "oci.tar") as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        assert len(json.load(index)["manifests"]) == 1
    buildx.build("-t", "bx-docker:tar", "-o", "type=docker,dest=docker.tar")
    assert "bx-docker:tar" in buildx.run("load", "-i", "docker.tar").stdout


def test_images_and_cache_go_to_a_registry(buildx: Buildx, registry: Registry) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN head -c 9 /dev/urandom > /random\n"})
    name = f"{registry.host}/bx/pushed:1"
    cache = f"type=registry,ref={registry.host}/bx/cache"
    log = buildx.build("-t", name, "--push", "--cache-to", f"{cache},mode=max")
    assert f"pushing {name}" in log
    first = buildx.output_of(name, "sha256sum", "/random")
    buildx.run("image", "rm", name)
    buildx.run("buildx", "prune", "-f", "-a")
    again = buildx.build("-t", name, "--cache-from", cache)
    assert "CACHED" in again
    assert buildx.output_of(name, "sha256sum", "/random") == first


def test_a_result_for_nobody_is_only_cached(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN echo cacheonly\n"})
    before = buildx.run("images", "-aq").stdout
    buildx.build("-o", "type=cacheonly")
    assert buildx.run("images", "-aq").stdout == before


def test_the_builder_is_described(buildx: Buildx) -> None:
    listed = buildx.run("buildx", "ls").stdout
    assert "default" in listed
    assert "linux/amd64" in listed or "linux/arm64" in listed
    inspected = buildx.run("buildx", "inspect").stdout
    assert "running" in inspected
    assert "error" not in inspected.lower()


def test_the_cache_is_listed_and_removed(buildx: Buildx) -> None:
    buildx.write({"Dockerfile": "FROM busybox\nRUN echo to-be-pruned > /x\n"})
    buildx.build("-t", "bx-prune")
    usage = buildx.run("buildx", "du").stdout
    assert "Total:" in usage
    buildx.run("image", "rm", "bx-prune")
    pruned = buildx.run("buildx", "prune", "-f", "-a").stdout
    assert "Total:" in pruned
    log = buildx.build()
    assert "CACHED" not in log


def test_the_history_is_no_stumbling_block(buildx: Buildx) -> None:
    done = buildx.run("buildx", "history", "ls", check=False)
    assert "panic" not in done.stderr
    assert done.stdout.startswith("BUILD ID") or "not support" in done.stderr


BAKE = """
group "default" { targets = ["app", "tool"] }
target "base" { dockerfile = "base.Dockerfile" }
target "app" {
  dockerfile = "app.Dockerfile"
  tags = ["bx-app"]
  args = { VERSION = "3" }
  contexts = { common = "target:base" }
}
target "tool" {
  dockerfile-inline = "FROM busybox\\nRUN echo tool > /tool\\n"
  tags = ["bx-tool"]
}
"""


def test_bake_builds_targets_that_lean_on_each_other(buildx: Buildx) -> None:
    buildx.write(
        {
            "docker-bake.hcl": BAKE,
            "base.Dockerfile": "FROM busybox\nRUN echo common > /common\nENV FROM_BASE=1\n",
            "app.Dockerfile": "FROM common\nARG VERSION\nRUN echo v$VERSION$FROM_BASE > /v\n",
        }
    )
    buildx.run("buildx", "bake", "--metadata-file", "meta.json")
    assert buildx.output_of("bx-app", "cat", "/common", "/v") == "common\nv31\n"
    assert buildx.output_of("bx-tool", "cat", "/tool") == "tool\n"
    metadata = json.loads((buildx.folder / "meta.json").read_text())
    assert metadata["app"]["containerimage.digest"] == buildx.inspect("bx-app")["Id"]


COMPOSE = """
name: bxcompose
services:
  base:
    build: {context: ., dockerfile_inline: "FROM busybox\\nRUN echo base > /base\\n"}
    image: bx-compose-base
  app:
    image: bx-compose-app
    build:
      context: .
      args: {WHO: compose}
      secrets: [token]
      additional_contexts: {below: "service:base"}
secrets:
  token: {file: ./token}
"""


def test_compose_builds_through_bake(buildx: Buildx) -> None:
    buildx.write(
        {
            "compose.yaml": COMPOSE,
            "Dockerfile": "FROM below\nARG WHO\n"
            "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /t && echo $WHO >> /t\n",
            "token": "12345",
        }
    )
    buildx.run("compose", "build")
    assert buildx.output_of("bx-compose-app", "cat", "/base", "/t") == "base\n5\ncompose\n"
