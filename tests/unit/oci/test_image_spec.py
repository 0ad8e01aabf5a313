import json
import os
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import jsonschema
import pytest
import referencing.jsonschema

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import media_types
from kedge.oci.image_spec import (
    ContainerConfig,
    Descriptor,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
    PlatformFields,
    RootFS,
    encode_document,
    parse_image_config,
    parse_index,
    parse_manifest,
    sniff_media_type,
)
from kedge.oci.platforms import Platform

_REPO = Path(__file__).parents[3]
_DATA = Path(os.environ.get("KEDGE_SHARED_DATA", str(_REPO.parent / "shared/data")))
_SCHEMAS = _DATA / "oci-image-schema"

DIGEST = "sha256:" + "ab" * 32
CONFIG = Descriptor(media_types.OCI_CONFIG, DIGEST, 2)
LAYER = Descriptor(media_types.OCI_LAYER_GZIP, DIGEST, 7, annotations={"a": "b"})
MANIFEST = Manifest(
    schema_version=2, media_type=media_types.OCI_MANIFEST, config=CONFIG, layers=[LAYER]
)
INDEX = Index(
    schema_version=2,
    manifests=[
        Descriptor(
            media_types.OCI_MANIFEST,
            DIGEST,
            9,
            platform=PlatformFields("arm64", "linux", "v8", "1"),
        )
    ],
)
IMAGE = ImageConfig(
    created="2025-01-02T03:04:05Z",
    architecture="amd64",
    os="linux",
    config=ContainerConfig(
        user="www",
        exposed_ports={"80/tcp": {}},
        env=["A=b"],
        cmd=["sh"],
        volumes={"/data": {}},
        working_dir="/",
        labels={"x": "y"},
        stop_signal="SIGINT",
        healthcheck=Healthcheck(test=["NONE"], interval=5),
        on_build=["RUN true"],
        shell=["/bin/bash", "-c"],
    ),
    rootfs=RootFS(diff_ids=[DIGEST]),
    history=[History(created_by="RUN x"), History(created_by="CMD y", empty_layer=True)],
)


Resource: TypeAlias = referencing.Resource[referencing.jsonschema.Schema]


class Validator(Protocol):
    def validate(self, instance: Json) -> None: ...


def validate(document: bytes, schema: str) -> None:
    if not _SCHEMAS.exists():
        pytest.skip(f"image-spec schemas are not at {_SCHEMAS}")
    files = {p.name: cast("JsonObject", json.loads(p.read_text())) for p in _SCHEMAS.glob("*.json")}
    resources: list[tuple[str, Resource]] = []
    for name, content in files.items():
        resource = cast("Resource", referencing.jsonschema.DRAFT4.create_resource(content))
        base = "https://opencontainers.org/schema/"
        names = [name, base + name, f"{base}image/{name}", f"{base}image/descriptor/{name}"]
        resources += [(known, resource) for known in names]
    registry = referencing.jsonschema.EMPTY_REGISTRY.with_resources(resources)
    validator = cast("Validator", jsonschema.Draft4Validator(files[schema], registry=registry))
    validator.validate(cast("Json", json.loads(document)))


@pytest.mark.parametrize(
    ("document", "schema"),
    [
        (MANIFEST, "image-manifest-schema.json"),
        (INDEX, "image-index-schema.json"),
        (IMAGE, "config-schema.json"),
        (LAYER, "content-descriptor.json"),
    ],
)
def test_written_documents_follow_the_schema(
    document: Manifest | Index | ImageConfig | Descriptor, schema: str
) -> None:
    validate(encode_document(document), schema)


def test_what_is_written_is_read_back() -> None:
    assert parse_manifest(encode_document(MANIFEST)) == MANIFEST
    assert parse_index(encode_document(INDEX)) == INDEX
    assert parse_image_config(encode_document(IMAGE)) == IMAGE
    assert INDEX.manifests[0].image_platform() == Platform("linux", "arm64", "v8", "1")
    assert CONFIG.image_platform() is None
    assert IMAGE.image_platform() == Platform("linux", "amd64")


def test_docker_spelling_of_members() -> None:
    written = cast("dict[str, JsonObject]", json.loads(encode_document(IMAGE)))
    assert list(written["config"]) == [
        *("User", "ExposedPorts", "Env", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"),
        *("Healthcheck", "OnBuild", "Shell"),
    ]


def test_nulls_are_absent_and_unknown_members_are_ignored() -> None:
    config = parse_image_config(
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":null},'
        b'"config":{"Cmd":null,"Env":null,"Labels":null,"Hostname":"x","Healthcheck":null},'
        b'"history":[{"created":null,"empty_layer":true}],"container_config":{}}'
    )
    assert config.config == ContainerConfig()
    assert config.history == [History(empty_layer=True)]
    assert config.rootfs == RootFS()


def manifest_with(**changes: Json) -> bytes:
    document = cast("JsonObject", json.loads(encode_document(MANIFEST)))
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "invalid manifest"),
        (b"[]", "invalid manifest"),
        (b"{" * 100_000, "invalid manifest"),
        (manifest_with(schemaVersion=1), "unsupported schema version 1"),
        (manifest_with(manifests=[]), 'must not have "manifests"'),
        (manifest_with(config=None), "missing required field `config`"),
        (manifest_with(layers="x"), "Expected `array`"),
        (
            manifest_with(layers=[{"mediaType": "x", "digest": "sha256:../..", "size": 1}]),
            'digest "sha256:../.."',
        ),
        (
            manifest_with(layers=[{"mediaType": "x", "digest": DIGEST, "size": -1}]),
            "negative size",
        ),
    ],
)
def test_broken_manifests(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_manifest(data)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_is_not_a_manifest() -> None:
    both = manifest_with(manifests=[])
    with pytest.raises(InvalidParameterError, match='must not have "layers"'):
        parse_index(both)
    with pytest.raises(InvalidParameterError, match='must not have "manifests"'):
        parse_manifest(encode_document(INDEX))


def test_a_config_with_a_strange_diff_id() -> None:
    with pytest.raises(InvalidParameterError, match='diff_id "nonsense"'):
        parse_image_config(b'{"rootfs":{"type":"layers","diff_ids":["nonsense"]}}')


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode_document(MANIFEST), media_types.OCI_MANIFEST),
        (encode_document(INDEX), media_types.OCI_INDEX),
        (b'{"schemaVersion":2,"mediaType":"x/y"}', "x/y"),
        (b'{"schemaVersion":1,"name":"x"}', media_types.DOCKER_SCHEMA1),
        (b'{"schemaVersion":2,"config":{}}', media_types.OCI_MANIFEST),
    ],
)
def test_sniffing(data: bytes, expected: str) -> None:
    assert sniff_media_type(data) == expected
