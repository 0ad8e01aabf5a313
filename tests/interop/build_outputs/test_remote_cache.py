"""Caches that travel: one engine builds, another that knows nothing has every step."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.lib.fields import items, text
from tests.engine import BUSYBOX, Engine, busybox_context, running_engine
from tests.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.interop]

EPOCH = ("--build-arg", "SOURCE_DATE_EPOCH=1000000000")
STAGES = """FROM busybox AS one
RUN echo one > /one && echo more > /more && sleep 0.2
FROM busybox
COPY --from=one /one /one
RUN cat /one > /two
COPY data /data
"""


@pytest.fixture(scope="module")
def other_engine() -> Iterator[Engine]:
    """A second machine with the same base image."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with running_engine() as engine:
        engine.build_tar(busybox_context(), "busybox")
        yield engine


def share_base(one: Engine, other: Engine, folder: Path) -> None:
    archive = folder / "base.tar"
    one.kedge("save", "-o", str(archive), "busybox")
    other.kedge("load", "-i", str(archive))


def forget(*engines: Engine) -> None:
    for engine in engines:
        engine.kedge("builder", "prune", "-af")


def build(engine: Engine, context: Path, *flags: str) -> str:
    return engine.kedge("build", "-o", "type=cacheonly", *flags, str(context)).stdout


@pytest.mark.parametrize("shape", ["image-manifest=true", "image-manifest=false"])
def test_a_registry_s_cache_has_every_stage(
    shared_engine: Engine, other_engine: Engine, registry: Registry, context: Path,
    tmp_path: Path, shape: str,
) -> None:  # fmt: skip
    share_base(shared_engine, other_engine, tmp_path)
    forget(shared_engine, other_engine)
    (context / "Dockerfile").write_text(STAGES)
    name = f"{registry.host}/cache:{shape[-4:]}"
    target = f"type=registry,ref={name},mode=max,{shape}"
    made = build(shared_engine, context, "--cache-to", target)
    assert f"Exporting cache to {name}" in made
    raw = json.loads(
        subprocess.check_output(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
        )
    )
    kinds = [text(raw, "config", "mediaType")] + [
        text(each, "mediaType") for each in items(raw, "manifests")
    ]
    assert "application/vnd.buildkit.cacheconfig.v0" in kinds
    found = build(other_engine, context, "--cache-from", f"type=registry,ref={name}")
    assert found.count("---> Using cache") == 4, found
    assert "Running in" not in found
    assert f"from cache {name}" in found
    (context / "data").write_text("changed")
    changed = build(other_engine, context, "--cache-from", name)
    assert changed.count("---> Using cache") == 3


def test_a_folder_as_cache(
    shared_engine: Engine, other_engine: Engine, context: Path, tmp_path: Path
) -> None:
    share_base(shared_engine, other_engine, tmp_path)
    forget(shared_engine, other_engine)
    (context / "Dockerfile").write_text(STAGES)
    folder = tmp_path / "cache"
    first = shared_engine.kedge(
        "build", "-o", "type=cacheonly", "--cache-from", f"type=local,src={folder}",
        "--cache-to", f"type=local,dest={folder},mode=min", str(context),
    )  # fmt: skip
    assert f"no cache in {folder} yet" in first.stderr
    assert (folder / "index.json").exists()
    found = build(other_engine, context, "--cache-from", f"type=local,src={folder}")
    # The first stage's own step is not in the image, so min leaves it out.
    assert found.count("---> Using cache") == 3, found
    assert found.count("Running in") == 1
    for blob in (folder / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(b"damaged")
    forget(other_engine)
    warned = build(other_engine, context, "--cache-from", f"type=local,src={folder}")
    assert "of the local cache is damaged" in warned
    assert "Running in" in warned


def test_a_cache_inside_the_image(
    shared_engine: Engine, other_engine: Engine, registry: Registry, context: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    share_base(shared_engine, other_engine, tmp_path)
    forget(shared_engine, other_engine)
    name = f"{registry.host}/inline:1"
    output = ("-t", name, "-o", "type=registry")
    ids = [
        shared_engine.kedge("build", *output, "--cache-to", "type=inline", "-q", str(context))
        .stdout.strip(),
        other_engine.kedge(
            "build", *output, "--cache-to", "type=inline", "--cache-from", name, "-q",
            str(context),
        ).stdout.strip(),
    ]  # fmt: skip
    assert ids[0] == ids[1], "the imported layers keep their times"
    again = build(other_engine, context)
    assert again.count("---> Using cache") == 2


def test_a_cache_that_is_none_costs_a_warning(
    shared_engine: Engine, registry: Registry, context: Path
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo warned\n")
    missing = f"{registry.host}/nothing:1"
    said = build(shared_engine, context, "--cache-from", missing)
    assert f"[Warning] cache {missing} is not used" in said
    name = f"{registry.host}/plain:1"
    shared_engine.kedge("build", "-t", name, "-o", "type=registry", str(context))
    forget(shared_engine)
    said = build(shared_engine, context, "--cache-from", name)
    assert "it is an image without inline cache" in said
    for flags, message in (
        (("--cache-to", "type=s3,bucket=x"), "use registry, local or inline"),
        (("--cache-to", "type=registry"), "ref is required"),
        (("--cache-to", "type=local,dest=x,mode=most"), "use min or max"),
        (("--cache-from", "type=inline"), "type=inline is only written"),
        (("--cache-to", "type=registry,ref=127.0.0.1:1/x"), "127.0.0.1:1"),
    ):
        done = shared_engine.kedge("build", *flags, str(context), check=False)
        assert message in done.stdout + done.stderr, flags
    ignored = "type=registry,ref=127.0.0.1:1/x,ignore-error=true"
    assert "is not written" in build(shared_engine, context, "--cache-to", ignored)
