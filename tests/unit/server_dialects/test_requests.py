"""Requests of older clients."""

import pytest

from kedge.api.types.config import (
    BindOptions,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    Mount,
    NetworkingConfig,
    TmpfsOptions,
    VolumeOptions,
)
from kedge.api.types.container import CreateRequest, UpdateRequest
from kedge.api.types.network import NetworkCreateRequest
from kedge.api.versions import MAX_VERSION, ApiVersion
from kedge.errdefs import InvalidParameterError
from kedge.server.dialects.requests import (
    update_create,
    update_endpoint,
    update_network,
    update_update,
)

SYSCTLS = "com.docker.network.endpoint.sysctls"


def full_request() -> CreateRequest:
    return CreateRequest(
        healthcheck=HealthConfig(test=["CMD", "true"], start_interval=5),
        host_config=HostConfig(
            auto_remove=True,
            kernel_memory=1,
            kernel_memory_tcp=2,
            console_size=[24, 80],
            annotations={"a": "b"},
            mounts=[
                Mount(
                    type="bind",
                    bind_options=BindOptions(
                        non_recursive=True, create_mountpoint=True, read_only_non_recursive=True
                    ),
                    volume_options=VolumeOptions(no_copy=True),
                ),
                Mount(type="tmpfs", tmpfs_options=TmpfsOptions(size_bytes=1, options=[["noexec"]])),
            ],
        ),
        networking_config=NetworkingConfig(
            endpoints_config={"n": EndpointSettings(mac_address="02:42:00:00:00:01")}
        ),
    )


def seen(version: tuple[int, int]) -> dict[str, object]:
    """What is left of a request in which everything is set."""
    request = full_request()
    assert update_create(request, ApiVersion(*version)) == []
    host, health = request.host_config, request.healthcheck
    bind, tmpfs = host.mounts[0].bind_options, host.mounts[1].tmpfs_options
    wish = request.networking_config.endpoints_config["n"]
    assert health is not None
    assert bind is not None
    assert tmpfs is not None
    assert wish is not None
    return {
        "AutoRemove": host.auto_remove,
        "KernelMemory": bool(host.kernel_memory),
        "KernelMemoryTCP": bool(host.kernel_memory_tcp),
        "IpcMode": host.ipc_mode,
        "ConsoleSize": host.console_size != [0, 0],
        "Annotations": bool(host.annotations),
        "StartInterval": bool(health.start_interval),
        "NonRecursive": bind.non_recursive,
        "CreateMountpoint": bind.create_mountpoint,
        "ReadOnlyNonRecursive": bind.read_only_non_recursive,
        "foreign VolumeOptions": host.mounts[0].volume_options is not None,
        "tmpfs Options": bool(tmpfs.options),
        "endpoint MacAddress": bool(wish.mac_address),
    }


NEWEST = {
    "AutoRemove": True, "KernelMemory": False, "KernelMemoryTCP": True, "IpcMode": "",
    "ConsoleSize": True, "Annotations": True, "StartInterval": True, "NonRecursive": True,
    "CreateMountpoint": True, "ReadOnlyNonRecursive": True, "foreign VolumeOptions": True,
    "tmpfs Options": True, "endpoint MacAddress": True,
}  # fmt: skip
# The first version in which a field means something; IpcMode's default and KernelMemory changed.
SINCE = {
    "AutoRemove": 25, "KernelMemoryTCP": 40, "NonRecursive": 40, "ConsoleSize": 42,
    "CreateMountpoint": 42, "foreign VolumeOptions": 42, "Annotations": 43, "StartInterval": 44,
    "ReadOnlyNonRecursive": 44, "endpoint MacAddress": 44, "tmpfs Options": 46,
}  # fmt: skip


@pytest.mark.parametrize("minor", range(24, 52))
def test_a_field_is_honoured_from_the_version_on_that_brought_it(minor: int) -> None:
    expected = {
        **NEWEST,
        **{name: False for name, since in SINCE.items() if minor < since},
        "KernelMemory": minor < 42,
        "IpcMode": "shareable" if minor < 40 else "",
    }
    assert seen((1, minor)) == expected


def test_an_ipc_mode_that_was_asked_for_stays() -> None:
    request = CreateRequest(host_config=HostConfig(ipc_mode="private"))
    update_create(request, ApiVersion(1, 24))
    assert request.host_config.ipc_mode == "private"


@pytest.mark.parametrize(
    ("mount", "since", "text"),
    [
        (
            Mount(type="volume", volume_options=VolumeOptions(subpath="x")),
            45,
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (
            Mount(type="bind", bind_options=BindOptions(read_only_force_recursive=True)),
            44,
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (Mount(type="image"), 48, 'Mount type "Image" needs API v1.48 or newer'),
    ],
)
def test_what_must_not_be_overlooked_is_refused(mount: Mount, since: int, text: str) -> None:
    request = CreateRequest(host_config=HostConfig(mounts=[mount]))
    assert update_create(request, ApiVersion(1, since)) == []
    with pytest.raises(InvalidParameterError, match=f"^{text}$"):
        update_create(request, ApiVersion(1, since - 1))


def test_one_network_at_creation_until_1_44() -> None:
    request = CreateRequest(
        networking_config=NetworkingConfig(endpoints_config={"a": None, "b": EndpointSettings()})
    )
    assert update_create(request, ApiVersion(1, 44)) == []
    with pytest.raises(InvalidParameterError, match=r"multiple network endpoints: a, b$"):
        update_create(request, ApiVersion(1, 43))


def sysctl_request(mode: str, *names: str, **endpoints: EndpointSettings) -> CreateRequest:
    return CreateRequest(
        host_config=HostConfig(network_mode=mode, sysctls=dict.fromkeys(names, "1")),
        networking_config=NetworkingConfig(endpoints_config={**endpoints}),
    )


def test_parameters_of_eth0_become_the_endpoints() -> None:
    wish = EndpointSettings(driver_opts={SYSCTLS: "net.ipv4.conf.IFNAME.rp_filter=2"})
    names = ("net.ipv4.ip_forward", "net.ipv4.conf.eth0.log_martians")
    request = sysctl_request("front", *names, front=wish)
    warnings = update_create(request, ApiVersion(1, 46))
    moved = "net.ipv4.conf.IFNAME.log_martians=1"
    assert warnings == [f'Migrated sysctl "{names[1]}" to DriverOpts{{"{SYSCTLS}":"{moved}"}}.']
    assert request.host_config.sysctls == {"net.ipv4.ip_forward": "1"}
    assert wish.driver_opts == {SYSCTLS: f"{moved},net.ipv4.conf.IFNAME.rp_filter=2"}


def test_parameters_of_eth0_find_the_network_nobody_named() -> None:
    request = sysctl_request("", "net.ipv4.conf.eth0.log_martians")
    update_create(request, ApiVersion(1, 40))
    wish = request.networking_config.endpoints_config["default"]
    assert wish is not None
    assert wish.driver_opts == {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1"}


@pytest.mark.parametrize(
    ("request_", "minor", "text"),
    [
        (sysctl_request("", "net.ipv4.conf.eth0.x"), 47, "must be supplied using driver option"),
        (sysctl_request("", "net.ipv4.conf.eth1.x"), 46, "unable to determine network endpoint"),
        (
            sysctl_request("c", "net.ipv4.conf.eth0.x", a=EndpointSettings(), b=EndpointSettings()),
            46,
            "HostConfig.NetworkMode must match",
        ),
    ],
)
def test_parameters_of_an_interface_that_is_not_known(
    request_: CreateRequest, minor: int, text: str
) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        update_create(request_, ApiVersion(1, minor))


@pytest.mark.parametrize("mode", ["host", "none", "container:x"])
def test_without_a_network_of_its_own_nothing_is_moved(mode: str) -> None:
    request = sysctl_request(mode, "net.ipv4.conf.eth0.x")
    assert update_create(request, ApiVersion(1, 46)) == []
    assert request.host_config.sysctls == {"net.ipv4.conf.eth0.x": "1"}


def test_updates_endpoints_and_networks() -> None:
    update = UpdateRequest(pids_limit=5, kernel_memory=6)
    update_update(update, ApiVersion(1, 40))
    assert (update.pids_limit, update.kernel_memory) == (5, 6)
    update_update(update, ApiVersion(1, 39))
    assert update.pids_limit is None
    update_update(update, MAX_VERSION)
    assert update.kernel_memory == 0
    wish = EndpointSettings(mac_address="02:42:00:00:00:01")
    update_endpoint(None, MAX_VERSION)
    update_endpoint(wish, ApiVersion(1, 44))
    assert wish.mac_address
    update_endpoint(wish, ApiVersion(1, 43))
    assert wish.mac_address == ""
    network = NetworkCreateRequest(enable_ipv4=False)
    update_network(network, ApiVersion(1, 48))
    assert network.enable_ipv4 is False
    update_network(network, ApiVersion(1, 47))
    assert network.enable_ipv4 is None
