"""Requests of older clients, brought into the words of the newest API version. Pure.

A field that came later than the client's version is as if it had not been sent, and a default
that changed since is the one the client knows. The source is Docker's version history and, for
which changes depend on the version that is asked for, dockerd's own routers. All functions change
what they are given.
"""

from collections.abc import Iterable
from typing import Final

from kedge.api.types.config import BindOptions, EndpointSettings, HostConfig, Mount
from kedge.api.types.container import CreateRequest, UpdateRequest
from kedge.api.types.network import NetworkCreateRequest
from kedge.api.versions import ApiVersion
from kedge.errdefs import InvalidParameterError

_SYSCTLS_OPTION: Final = "com.docker.network.endpoint.sysctls"
_LAST_WITH_ETH0: Final = ApiVersion(1, 46)


def update_create(request: CreateRequest, version: ApiVersion) -> list[str]:
    """Make a request to create a container a current one; return warnings for the client.

    Raises:
        InvalidParameterError: Something newer whose loss the client must not overlook.
    """
    host = request.host_config
    if version < (1, 25):
        # The client removed it itself.
        host.auto_remove = False
    if version < (1, 40):
        host.kernel_memory_tcp = 0
        host.ipc_mode = host.ipc_mode or "shareable"
    if version < (1, 42):
        host.console_size = [0, 0]
    else:
        host.kernel_memory = 0
    if version < (1, 43):
        host.annotations = {}
    if version < (1, 44):
        if request.healthcheck is not None:
            request.healthcheck.start_interval = 0
        _check_one_network(request)
        _forget_macs(request.networking_config.endpoints_config.values())
    for mount in host.mounts:
        _update_mount(mount, version)
    return _move_interface_sysctls(request, version)


def update_update(request: UpdateRequest, version: ApiVersion) -> None:
    """Make a request to change limits a current one."""
    if version < (1, 40):
        request.pids_limit = None
    if version >= (1, 42):
        request.kernel_memory = 0


def update_endpoint(wish: EndpointSettings | None, version: ApiVersion) -> None:
    """Make a request to connect a container to a network a current one."""
    if wish is not None and version < (1, 44):
        wish.mac_address = ""


def update_network(request: NetworkCreateRequest, version: ApiVersion) -> None:
    """Make a request to create a network a current one."""
    if version < (1, 48):
        request.enable_ipv4 = None


def _update_mount(mount: Mount, version: ApiVersion) -> None:
    binds = mount.bind_options
    if binds is not None:
        _update_bind(binds, version)
    if version < (1, 42):
        # Options of another kind of mount were not looked at.
        if mount.type != "volume":
            mount.volume_options = None
        if mount.type != "tmpfs":
            mount.tmpfs_options = None
    volume = mount.volume_options
    if version < (1, 45) and volume is not None and volume.subpath:
        raise InvalidParameterError("VolumeOptions.Subpath needs API v1.45 or newer")
    if version < (1, 46) and mount.tmpfs_options is not None:
        mount.tmpfs_options.options = []
    if version < (1, 48) and mount.type == "image":
        raise InvalidParameterError('Mount type "Image" needs API v1.48 or newer')


def _update_bind(options: BindOptions, version: ApiVersion) -> None:
    if version < (1, 40):
        options.non_recursive = False
    if version < (1, 42):
        options.create_mountpoint = False
    if version < (1, 44):
        options.read_only_non_recursive = False
        if options.read_only_force_recursive:
            raise InvalidParameterError(
                "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"
            )


def _check_one_network(request: CreateRequest) -> None:
    names = request.networking_config.endpoints_config
    if len(names) > 1:
        raise InvalidParameterError(
            f"Container cannot be created with multiple network endpoints: {', '.join(names)}"
        )


def _forget_macs(wishes: Iterable[EndpointSettings | None]) -> None:
    # The container's own `MacAddress` is what such a client has.
    for wish in wishes:
        if wish is not None:
            wish.mac_address = ""


def _move_interface_sysctls(request: CreateRequest, version: ApiVersion) -> list[str]:
    """Make kernel parameters of eth0 the endpoint's, which is where its name is known.

    They are set before the container has interfaces otherwise. From API 1.47 on the client is
    told where they belong instead.
    """
    host = request.host_config
    mode = host.network_mode
    if mode in {"host", "none"} or mode.startswith("container:"):
        return []
    moved = [name for name in host.sysctls if _interface_of(name)]
    if not moved:
        return []
    if version > _LAST_WITH_ETH0:
        raise InvalidParameterError(
            f'interface specific sysctl setting "{moved[0]}" must be supplied using driver option '
            f"'{_SYSCTLS_OPTION}'"
        )
    for name in moved:
        if _interface_of(name) != "eth0":
            raise InvalidParameterError(
                f"unable to determine network endpoint for sysctl {name}, use driver option "
                f"'{_SYSCTLS_OPTION}' to set per-interface sysctls"
            )
    texts = [f"{name.replace('.eth0.', '.IFNAME.', 1)}={host.sysctls.pop(name)}" for name in moved]
    options = _first_endpoint(host, request)
    given = options.get(_SYSCTLS_OPTION)
    options[_SYSCTLS_OPTION] = ",".join([*texts, given] if given else texts)
    change = f'DriverOpts{{"{_SYSCTLS_OPTION}":"{",".join(texts)}"}}'
    return [f'Migrated sysctl "{",".join(moved)}" to {change}.']


def _interface_of(sysctl: str) -> str:
    parts = sysctl.split(".", 4)
    named = len(parts) == 5 and parts[0] == "net" and parts[3].startswith("eth")
    return parts[3] if named else ""


def _first_endpoint(host: HostConfig, request: CreateRequest) -> dict[str, str]:
    """Return the driver options of the container's place in its first network."""
    wishes = request.networking_config.endpoints_config
    name = host.network_mode or "default"
    if wishes and name not in wishes:
        if len(wishes) > 1:
            raise InvalidParameterError(
                "HostConfig.NetworkMode must match the identity of a network in "
                "NetworkSettings.Networks"
            )
        name = next(iter(wishes))
    wish = wishes.get(name) or EndpointSettings()
    wishes[name] = wish
    if wish.driver_opts is None:
        wish.driver_opts = {}
    return wish.driver_opts
