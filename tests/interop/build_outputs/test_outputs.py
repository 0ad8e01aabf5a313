"""Results of builds outside the image store, read by skopeo, GNU tar and a registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kedge.errdefs import NotFoundError
from kedge.lib.fields import items, text
from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine
from tests.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.interop]


def skopeo(*words: str) -> str:
    return subprocess.check_output(["skopeo", *words], text=True)


def raw(where: str, *flags: str) -> JsonObject:
    found: JsonObject = json.loads(skopeo("inspect", "--raw", *flags, where))
    return found


def images(engine: Engine) -> list[str]:
    return engine.kedge("images", "--format", "{{.Repository}}").stdout.split()


def test_files_in_a_folder_and_in_an_archive(
    shared_engine: Engine, context: Path, tmp_path: Path
) -> None:
    out, archive = tmp_path / "out", tmp_path / "files.tar"
    before = images(shared_engine)
    shared_engine.kedge("build", "-o", str(out), "-o", f"type=tar,dest={archive}", str(context))
    assert (out / "data").read_text() == "data\n"
    assert (out / "d/f").stat().st_ino == (out / "d/g").stat().st_ino
    assert os.readlink(out / "d/s") == "f"
    listed = subprocess.check_output(["tar", "tf", archive], text=True).split()
    assert {"data", "d/f", "d/g", "d/s", "bin/busybox"} <= set(listed)
    assert images(shared_engine) == before, "other outputs leave the store alone"


def test_an_archive_on_standard_output(
    shared_engine: Engine, context: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "files.tar"
    with archive.open("wb") as target:
        done = subprocess.run(
            [sys.executable, "-c", "from kedge.cli.main import main; main()", "build", "-o", "-",
             str(context)],
            stdout=target, stderr=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "KEDGE_HOST": shared_engine.host},
        )  # fmt: skip
    assert "Step 1/3" in done.stderr
    assert "data" in subprocess.check_output(["tar", "tf", archive], text=True).split()


def test_archives_of_the_image(shared_engine: Engine, context: Path, tmp_path: Path) -> None:
    oci, docker, metadata = tmp_path / "oci.tar", tmp_path / "docker.tar", tmp_path / "m.json"
    shared_engine.kedge(
        "build", "-t", "arch:1", "-o", f"type=oci,dest={oci}", "--metadata-file", str(metadata),
        str(context),
    )  # fmt: skip
    shared_engine.kedge("build", "-t", "arch:1", "-o", f"type=docker,dest={docker}", str(context))
    manifest = raw(f"oci-archive:{oci}:1")
    written = json.loads(metadata.read_text())
    assert written["image.name"] == "docker.io/library/arch:1"
    assert written["containerimage.descriptor"]["digest"] == written["containerimage.digest"]
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    inspected = json.loads(skopeo("inspect", f"docker-archive:{docker}:arch:1"))
    assert len(inspected["Layers"]) == 4
    loaded = shared_engine.kedge("load", "-i", str(docker)).stdout
    assert "arch:1" in loaded
    shared_engine.kedge("rmi", "arch:1")


def test_compression_and_media_types(shared_engine: Engine, context: Path, tmp_path: Path) -> None:
    for compression, suffix in (
        ("zstd", "tar+zstd"),
        ("uncompressed", "tar"),
        ("gzip", "tar+gzip"),
    ):
        path = tmp_path / f"{compression}.tar"
        wish = f"type=oci,dest={path},compression={compression},force-compression=true"
        shared_engine.kedge("build", "-o", wish, str(context))
        layers = items(raw(f"oci-archive:{path}"), "layers")
        kinds = {text(layer, "mediaType").rpartition(".")[2] for layer in layers}
        assert kinds == {suffix}
        subprocess.run(
            ["skopeo", "copy", "-q", f"oci-archive:{path}", f"dir:{tmp_path}/{compression}"],
            check=True,
        )
    folder = tmp_path / "layout"
    shared_engine.kedge("build", "-o", f"type=oci,tar=false,dest={folder}", str(context))
    assert raw(f"oci:{folder}")["schemaVersion"] == 2


def test_a_push_and_an_index_of_platforms(
    shared_engine: Engine, registry: Registry, context: Path, tmp_path: Path
) -> None:
    name = f"{registry.host}/app:1"
    done = shared_engine.kedge("build", "-t", name, "-o", "type=registry", str(context))
    assert f"Pushing {name}" in done.stdout
    manifest = raw(f"docker://{name}", "--tls-verify=false")
    assert len(json.dumps(manifest["layers"])) > 10
    assert name.partition(":")[0] not in images(shared_engine)
    (context / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH\nCOPY data /\n"
    )
    metadata = tmp_path / "m.json"
    shared_engine.kedge(
        "build", "-t", name, "--platform", "linux/amd64,linux/arm64", "-o", "type=registry",
        "--metadata-file", str(metadata), str(context),
    )  # fmt: skip
    entries = items(raw(f"docker://{name}", "--tls-verify=false"), "manifests")
    assert [text(each, "platform", "architecture") for each in entries] == ["amd64", "arm64"]
    digest = json.loads(metadata.read_text())["containerimage.digest"]
    raw(f"docker://{registry.host}/app@{digest}", "--tls-verify=false")
    config = json.loads(
        skopeo(
            "inspect", "--config", "--override-arch=arm64", "--tls-verify=false", f"docker://{name}"
        )
    )
    assert config["config"]["Labels"] == {"a": "arm64"}
    refused = shared_engine.kedge(
        "build", "--platform", "linux/amd64,linux/arm64", str(context), check=False
    )
    assert "the image store holds one platform of a build" in refused.stderr


def test_push_and_load_flags(shared_engine: Engine, registry: Registry, context: Path) -> None:
    name = f"{registry.host}/both:1"
    shared_engine.kedge("build", "-t", name, "--push", str(context))
    assert raw(f"docker://{name}", "--tls-verify=false")["schemaVersion"] == 2
    assert name.rpartition(":")[0] in images(shared_engine)
    shared_engine.kedge("rmi", name)


def test_wishes_that_cannot_be_met(shared_engine: Engine, context: Path, tmp_path: Path) -> None:
    for flags, message in (
        (("-o", "type=ocy,dest=x"), "output type ocy does not exist (did you mean oci?)"),
        (("-o", "type=oci"), "output type=oci: dest is required"),
        (("-o", "type=oci,dest=x,compresion=zstd"), "(did you mean compression?)"),
        (("-o", "type=oci,dest=x,compression=lzma"), "use gzip, zstd, uncompressed"),
        (("-o", f"type=tar,dest={tmp_path}"), "is a folder: name a file"),
        (("--push",), "--push needs a name to push to: add --tag"),
        (("-o", "type=registry"), "nothing to push to: name the image with --tag"),
        (("-t", "127.0.0.1:1/x", "-o", "type=registry"), "127.0.0.1:1"),
        (("--progress", "fancy"), "must be one of auto, plain, tty, rawjson, quiet"),
        (("-o", "/proc/nothing/out.tar"), "cannot write /proc/nothing/out.tar"),
    ):
        done = shared_engine.kedge("build", *flags, str(context), check=False)
        assert done.returncode != 0, flags
        assert message in done.stderr, (flags, done.stderr)


def test_the_classic_door_takes_docker_s_outputs(shared_engine: Engine, context: Path) -> None:
    shared_engine.kedge("build", "-t", "classic:1", "-o", "type=image", str(context))
    assert "classic" in images(shared_engine)
    shared_engine.kedge("rmi", "classic:1")


def test_an_output_is_fetched_by_its_token_alone(shared_engine: Engine) -> None:
    with pytest.raises(NotFoundError, match="no such output of a build: abc"):
        shared_engine.get("/build/outputs/abc")


def test_steps_of_a_stage_run_again(shared_engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox AS one\nRUN echo one > /one\nFROM busybox\nCOPY --from=one /one /\n"
        "RUN echo two > /two\n"
    )
    shared_engine.kedge("build", "-q", str(context))
    again = shared_engine.kedge("build", "--no-cache-filter", "one", str(context)).stdout
    assert again.count("Running in") == 1
    raw_progress = shared_engine.kedge("build", "--progress", "rawjson", str(context)).stderr
    assert all(json.loads(line) for line in raw_progress.splitlines())
