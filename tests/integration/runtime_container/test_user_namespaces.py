"""A root file system kept with the container's ids, shown to a user namespace by an id-mapping."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.jsontypes import JsonObject
from kedge.linux import mount as lm
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping
from kedge.runtime.namespaces import open_user_namespace
from tests.integration.runtime_container.conftest import Run

pytestmark = pytest.mark.integration

FIRST = 2_000_000_000
MAPPING = (IdMapping(0, FIRST, 65536),)


def remapped(document: JsonObject, path: str = "") -> JsonObject:
    linux = document["linux"]
    assert isinstance(linux, dict)
    mapping: JsonObject = {"containerID": 0, "hostID": FIRST, "size": 65536}
    linux["uidMappings"] = linux["gidMappings"] = [mapping]
    namespaces = linux["namespaces"]
    assert isinstance(namespaces, list)
    namespaces.append({"type": "user", **({"path": path} if path else {})})
    return document


@pytest.fixture
def overlay(bundle: Path) -> Mount:
    """Two layers and a place to write, all of them root's on disk."""
    layers = bundle / "layers"
    for name in ("upper", "work", "top"):
        (layers / name).mkdir(parents=True)
    (bundle / "rootfs").rename(layers / "base")
    (bundle / "rootfs").mkdir()
    (layers / "top/etc").mkdir()
    (layers / "top/etc/owned").write_text("x")
    os.chown(layers / "top/etc/owned", 7, 8)
    return Mount(
        "overlay",
        "overlay",
        (
            f"lowerdir={layers}/top:{layers}/base",
            f"upperdir={layers}/upper",
            f"workdir={layers}/work",
            "idmap",
        ),
    )


def test_ids_are_mapped_inside_and_plain_on_disk(
    run: Run, bundle: Path, shell_spec: Callable[[str], JsonObject], overlay: Mount
) -> None:
    script = (
        "stat -c %u:%g /bin/busybox /etc/owned; chmod 700 /etc/owned; rm /bin/true; "
        "mkdir /made; touch /made/f; cat /proc/self/uid_map"
    )
    result = run(remapped(shell_spec(script)), rootfs=(overlay,))
    assert result.output.split() == ["0:0", "7:8", "0", str(FIRST), "65536"]
    upper = bundle / "layers/upper"
    assert [(found.st_uid, found.st_gid) for found in (
        (upper / "etc/owned").stat(), (upper / "made/f").stat(), (upper / "bin/true").lstat()
    )] == [(7, 8), (0, 0), (0, 0)]  # fmt: skip
    assert (bundle / "layers/top/etc/owned").stat().st_mode & 0o777 == 0o644


def test_a_user_namespace_is_joined_by_path(
    run: Run, shell_spec: Callable[[str], JsonObject], overlay: Mount
) -> None:
    owner = open_user_namespace(MAPPING, MAPPING)
    try:
        path = f"/proc/{os.getpid()}/fd/{owner}"
        expected = f"user:[{os.fstat(owner).st_ino}]"
        document = remapped(shell_spec("readlink /proc/self/ns/user; echo $$; id -u"), path)
        assert run(document, rootfs=(overlay,)).output.split() == [expected, "1", "0"]
    finally:
        os.close(owner)


def test_the_network_belongs_to_the_user_namespace(
    run: Run, shell_spec: Callable[[str], JsonObject], overlay: Mount
) -> None:
    document = remapped(shell_spec("ls /sys/class/net; echo 1 > /proc/sys/net/ipv4/ip_forward"))
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["readonlyPaths"] = []
    process = document["process"]
    assert isinstance(process, dict)
    process["capabilities"] = {
        key: ["CAP_NET_ADMIN"] for key in ("bounding", "effective", "permitted")
    }
    result = run(document, rootfs=(overlay,))
    assert (result.code, result.output.split()) == (0, ["lo"])


def test_no_mapping_is_refused(run: Run, shell_spec: Callable[[str], JsonObject]) -> None:
    document = remapped(shell_spec("true"))
    linux = document["linux"]
    assert isinstance(linux, dict)
    del linux["uidMappings"], linux["gidMappings"]
    with pytest.raises(InvalidParameterError, match=r"needs linux\.uidMappings"):
        run(document)


def test_a_kernel_without_id_mapped_mounts_is_told_about(
    run: Run,
    shell_spec: Callable[[str], JsonObject],
    overlay: Mount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(lm, "mount_setattr", refuse)
    with pytest.raises(NotSupportedError, match=r"id-mapped mounts.*--userns=host"):
        run(remapped(shell_spec("true")), rootfs=(overlay,))
