"""Answers to older clients."""

import json

import pytest

from kedge.api import codec
from kedge.api.types.config import ContainerConfig, EndpointSettings
from kedge.api.types.container import (
    ContainerInspect,
    ContainerSummary,
    NetworkSettings,
    SummaryHostConfig,
)
from kedge.api.types.image import ImageConfig, ImageInspect, ImageSummary
from kedge.api.types.system import BuildCacheRecord, Commit, DeviceInfo, DiskUsage, FirewallInfo
from kedge.api.types.system import Info as EngineInfo
from kedge.api.versions import ApiVersion
from kedge.server.dialects.answers import (
    list_containers,
    list_images,
    show_container,
    show_disk_usage,
    show_image,
    show_info,
)

ID = "0123456789abcdef" * 4
MINORS = pytest.mark.parametrize("minor", range(24, 52))


@MINORS
def test_a_container(minor: int) -> None:
    mine = EndpointSettings(aliases=["web"])
    container = ContainerInspect(
        id=ID,
        config=ContainerConfig(hostname="box"),
        network_settings=NetworkSettings(networks={"bridge": EndpointSettings(), "front": mine}),
    )
    shown = json.loads(codec.encode(show_container(container, ApiVersion(1, minor))))
    networks = shown["NetworkSettings"]["Networks"]
    assert networks["bridge"]["Aliases"] is None
    assert networks["front"]["Aliases"] == ["web", *([ID[:12], "box"] if minor < 45 else [])]
    assert ("KernelMemory" in shown["HostConfig"]) == (minor < 42)
    assert ("KernelMemoryTCP" in shown["HostConfig"]) == (minor < 42)
    # What the engine keeps is as it was.
    assert mine.aliases == ["web"]


@MINORS
def test_a_list_of_containers(minor: int) -> None:
    item = ContainerSummary(host_config=SummaryHostConfig(annotations={"a": "b"}))
    (shown,) = json.loads(codec.encode(list_containers([item], ApiVersion(1, minor))))
    assert ("Annotations" in shown["HostConfig"]) == (minor >= 46)
    assert item.host_config.annotations == {"a": "b"}


@MINORS
def test_an_image(minor: int) -> None:
    shown = json.loads(codec.encode(show_image(ImageInspect(size=7), ApiVersion(1, minor))))
    config = shown["Config"]
    # Until 1.52 they are there when they are not set, too.
    assert {name: config[name] for name in ("Cmd", "Entrypoint", "Env", "Labels", "OnBuild")} == {
        "Cmd": None, "Entrypoint": None, "Env": None, "Labels": None, "OnBuild": None,
    }  # fmt: skip
    assert (config["User"], config["Volumes"], config["WorkingDir"]) == ("", None, "")
    assert ("Hostname" in config) == (minor < 50)
    assert ("AttachStdin" in config) == (minor < 50)
    assert ("ContainerConfig" in shown) == (minor < 45)
    assert ("Container" in shown) == (minor < 45)
    assert shown.get("VirtualSize") == (7 if minor < 44 else None)
    assert shown.get("Created") == ("0001-01-01T00:00:00Z" if minor < 44 else None)


def test_an_image_keeps_its_configuration() -> None:
    image = ImageInspect(config=ImageConfig(cmd=["sh"], labels={"a": "b"}))
    shown = json.loads(codec.encode(show_image(image, ApiVersion(1, 24))))
    assert (shown["Config"]["Cmd"], shown["Config"]["Labels"]) == (["sh"], {"a": "b"})
    assert shown["ContainerConfig"] == shown["Config"]


@MINORS
def test_a_list_of_images(minor: int) -> None:
    images = [
        ImageSummary(containers=3, size=9, repo_tags=["a:b"]),
        ImageSummary(containers=0, size=1),
    ]
    named, dangling = json.loads(codec.encode(list_images(images, ApiVersion(1, minor))))
    assert named["Containers"] == 3
    assert named.get("VirtualSize") == (9 if minor < 44 else None)
    assert named["RepoTags"] == ["a:b"]
    assert dangling["RepoTags"] == (["<none>:<none>"] if minor < 43 else [])
    assert dangling["RepoDigests"] == (["<none>@<none>"] if minor < 43 else [])


@MINORS
def test_the_engine_s_state(minor: int) -> None:
    info = EngineInfo(
        runc_commit=Commit(id="1.2"),
        firewall_backend=FirewallInfo(driver="nftables"),
        discovered_devices=[DeviceInfo(source="cdi", id="a/b=c")],
        security_options=["name=seccomp,profile=builtin", "name=userns"],
    )
    shown = json.loads(codec.encode(show_info(info, ApiVersion(1, minor))))
    assert ("DiscoveredDevices" in shown) == (minor >= 50)
    assert ("BridgeNfIptables" in shown) == ("BridgeNfIp6tables" in shown) == (minor < 50)
    assert ("FirewallBackend" in shown) == (minor >= 49)
    assert shown["RuncCommit"].get("Expected") == ("1.2" if minor < 49 else None)
    assert ("AllowNondistributableArtifactsCIDRs" in shown["RegistryConfig"]) == (minor < 49)
    assert ("KernelMemory" in shown) == ("KernelMemoryTCP" in shown) == (minor < 42)
    assert shown["KernelVersion"] == ("<unknown>" if minor < 39 else "")
    assert shown.get("ExecutionDriver") == ("<not supported>" if minor < 25 else None)
    named = ["seccomp", "userns"]
    assert shown["SecurityOptions"] == (named if minor < 25 else info.security_options)


@MINORS
def test_disk_usage(minor: int) -> None:
    usage = DiskUsage(
        images=[ImageSummary(containers=2, size=5)],
        containers=[ContainerSummary(host_config=SummaryHostConfig(annotations={"a": "b"}))],
        build_cache=[
            BuildCacheRecord(id="x", parents=["p", "q"], size=3),
            BuildCacheRecord(size=4),
        ],
    )
    shown = json.loads(codec.encode(show_disk_usage(usage, ApiVersion(1, minor))))
    assert shown["Images"][0]["Containers"] == 2
    assert ("VirtualSize" in shown["Images"][0]) == (minor < 44)
    assert ("Annotations" in shown["Containers"][0]["HostConfig"]) == (minor >= 46)
    assert shown.get("BuilderSize") == (7 if minor < 42 else None)
    record = shown["BuildCache"][0]
    assert record.get("Parent") == ("p" if minor < 42 else None)
    assert record.get("Parents") == (None if minor < 42 else ["p", "q"])


def test_kinds_nobody_asked_for_stay_away() -> None:
    usage = DiskUsage(images=None, containers=None, volumes=None, build_cache=None)
    for minor in (24, 51):
        shown = json.loads(codec.encode(show_disk_usage(usage, ApiVersion(1, minor))))
        assert (shown["Images"], shown["BuildCache"]) == (None, None)
