import json
import os
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.runtime_spec import parse_process, parse_spec
from kedge.oci.runtime_spec.types import Rlimit, User

REPO = Path(__file__).parents[3]
SHARED = Path(os.environ.get("KEDGE_SHARED_DATA", REPO.parent / "shared/data"))
VECTORS = SHARED / "oci-runtime-schema/test/config"
needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"the runtime-spec's examples are not at {VECTORS}"
)
# Other platforms' sections are ignored here, as the specification tells a Linux runtime to.
FOREIGN = {"freebsd-vnet-disable.json"}


def load(path: Path) -> JsonObject:
    document: Json = json.loads(path.read_text())
    assert isinstance(document, dict)
    return document


@needs_vectors
@pytest.mark.parametrize("path", sorted(VECTORS.glob("good/*.json")), ids=lambda path: path.name)
def test_good_examples_parse(path: Path) -> None:
    assert parse_spec(load(path)).oci_version


@needs_vectors
@pytest.mark.parametrize("path", sorted(VECTORS.glob("bad/*.json")), ids=lambda path: path.name)
def test_bad_examples_are_refused(path: Path) -> None:
    if path.name in FOREIGN:
        assert parse_spec(load(path)).oci_version
        return
    with pytest.raises((InvalidParameterError, json.JSONDecodeError)):
        parse_spec(load(path))


@needs_vectors
def test_the_example_of_the_specification_keeps_its_values() -> None:
    spec = parse_spec(load(VECTORS / "good/spec-example.json"))
    assert spec.process is not None
    assert spec.process.user == User(uid=1, gid=1, additional_gids=(5, 6))
    assert spec.process.rlimits[0] == Rlimit("RLIMIT_CORE", soft=1024, hard=1024)
    assert [mount.destination for mount in spec.mounts][:2] == ["/proc", "/dev"]
    assert spec.hooks.poststart[0].timeout_s == 5
    assert spec.linux.time_offsets["boottime"].secs == 604800
    assert spec.linux.masked_paths[0] == "/proc/kcore"


BROKEN: list[tuple[JsonObject, str]] = [
    ({"linux": {}}, "config.json.ociVersion"),
    ({"ociVersion": 1}, "config.json.ociVersion"),
    ({"ociVersion": "1.0"}, "config.json.ociVersion"),
    ({"ociVersion": "2.0.0"}, "config.json.ociVersion"),
    ({"ociVersion": "1.0.0", "process": {}}, "config.json.process.cwd"),
    ({"ociVersion": "1.0.0", "process": {"cwd": "/", "args": ["a", 1]}}, "process.args[1]"),
    ({"ociVersion": "1.0.0", "process": {"cwd": "/", "user": {"uid": -1}}}, "process.user.uid"),
    (
        {"ociVersion": "1.0.0", "process": {"cwd": "/", "rlimits": [{"type": "nofile"}]}},
        "process.rlimits[0].type",
    ),
    ({"ociVersion": "1.0.0", "mounts": [{"source": "x"}]}, "mounts[0].destination"),
    ({"ociVersion": "1.0.0", "root": {"path": "r", "readonly": "yes"}}, "root.readonly"),
    ({"ociVersion": "1.0.0", "linux": {"namespaces": [{"type": "x"}]}}, "namespaces[0].type"),
    ({"ociVersion": "1.0.0", "linux": {"netDevices": {"eth0": {"name": 1}}}}, "netDevices.eth0"),
    ({"ociVersion": "1.0.0", "linux": {"netDevices": {"a b": {}}}}, "linux.netDevices"),
    (
        {"ociVersion": "1.0.0", "linux": {"netDevices": {"e": {"name": "%d%d"}}}},
        "netDevices.e.name",
    ),
    ({"ociVersion": "1.0.0", "linux": {"memoryPolicy": {}}}, "linux.memoryPolicy.mode"),
    ({"ociVersion": "1.0.0", "linux": {"memoryPolicy": {"mode": "MPOL"}}}, "memoryPolicy.mode"),
    (
        {"ociVersion": "1.0.0", "linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}}},
        "memoryPolicy.nodes",
    ),
    (
        {
            "ociVersion": "1.0.0",
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}},
        },
        "seccomp.listenerMetadata",
    ),
    ({"ociVersion": "1.0.0", "hooks": {"poststop": [{}]}}, "hooks.poststop[0].path"),
    ({"ociVersion": "1.0.0", "annotations": {"a": 1}}, "annotations.a"),
]


@pytest.mark.parametrize(("document", "path"), BROKEN)
def test_errors_name_the_path(document: JsonObject, path: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_spec(document)
    assert path in str(caught.value)


def test_null_is_absent_and_unknown_fields_are_ignored() -> None:
    spec = parse_spec({"ociVersion": "1.0.0", "process": None, "linux": None, "x": {"y": 1}})
    assert spec.process is None
    assert spec.linux.namespaces == ()


def test_file_type_bits_of_a_device_mode_are_masked() -> None:
    device: JsonObject = {"type": "c", "path": "/dev/fuse", "fileMode": 0o20660}
    spec = parse_spec({"ociVersion": "1.0.0", "linux": {"devices": [device]}})
    assert spec.linux.devices[0].file_mode == 0o660


def test_a_process_document_parses_alone() -> None:
    process = parse_process({"cwd": "/", "args": ["sh"], "terminal": True})
    assert process.terminal
    assert process.capabilities is None
