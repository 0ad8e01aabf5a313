"""All checks of a create request's flags, and the values Docker fills in where they are missing.

Each group of flags is checked where the knowledge is; this says which checks there are, and in
which order, because clients see the first failure.
"""

from kedge.api.types.config import ContainerConfig, HostConfig, Ulimit
from kedge.api.types.container import CreateRequest
from kedge.engine.context import EngineSettings
from kedge.engine.defaults import OWN_RUNTIME
from kedge.engine.devices import check_devices
from kedge.engine.healthrules import check_health_config
from kedge.engine.hostchecks import (
    check_cgroup_parent,
    check_modes,
    check_network_mode,
    check_process,
    check_storage,
    check_sysctls,
    check_tmpfs,
)
from kedge.engine.kernelfacts import read_facts
from kedge.engine.limits import check_limits, check_process_limits, complete_limits
from kedge.engine.security import parse_security
from kedge.engine.signals import parse_signal
from kedge.engine.userns import mapping_for
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.oci.confinement import MASKED_PATHS, READONLY_PATHS


def check_request(
    settings: EngineSettings, request: CreateRequest, config: ContainerConfig
) -> list[str]:
    """Raise unless the flags can work; fill the host configuration in.

    Args:
        settings: The engine's defaults.
        request: As the client sent it; its ``host_config`` is completed in place.
        config: The merged configuration, with the image's.

    Returns:
        Docker's warnings, for the client to show.

    Raises:
        InvalidParameterError: A value that can never work, with Docker's text.
        NotSupportedError: Something that is refused rather than ignored.
    """
    host, facts = request.host_config, read_facts()
    check_health_config(config.healthcheck)
    check_process(config, host)
    if config.stop_signal:
        parse_signal(config.stop_signal)
    check_modes(request, host)
    check_network_mode(request, host)
    options = parse_security(
        host.security_opt,
        cap_add=host.cap_add or (),
        cap_drop=host.cap_drop or (),
        privileged=host.privileged,
    )
    check_process_limits(host)
    warnings = check_limits(host, facts)
    check_sysctls(host)
    check_tmpfs(host)
    check_devices(host)
    check_storage(host.storage_opt)
    check_cgroup_parent(host.cgroup_parent)
    host.runtime = host.runtime or settings.default_runtime
    _check_runtime(settings, host)
    if options.apparmor_profile and not facts.apparmor:
        warnings.append(
            f"This kernel has no AppArmor: the profile {options.apparmor_profile} is not applied."
        )
    if host.cgroupns_mode == "private" and not facts.cgroup_namespaces:
        host.cgroupns_mode = "host"
        warnings.append(
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded."
        )
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    _fill_in(settings, host)
    return warnings


def _check_runtime(settings: EngineSettings, host: HostConfig) -> None:
    if host.runtime in {"", OWN_RUNTIME}:
        return
    if host.runtime not in settings.runtimes:
        raise InvalidParameterError(f"unknown or invalid runtime name: {host.runtime}")
    if mapping_for(host, settings.id_maps) is not None:
        raise NotSupportedError(
            f"runtime {host.runtime} cannot show this engine's layers in a user namespace: use "
            f"--userns=host, or --runtime {OWN_RUNTIME}"
        )


def runtime_command(settings: EngineSettings, host: HostConfig) -> tuple[str, ...]:
    """Return the OCI runtime to start a container with; empty for kedge's own.

    Raises:
        InvalidParameterError: It is not registered any more, with Docker's text.
    """
    _check_runtime(settings, host)
    return () if host.runtime in {"", OWN_RUNTIME} else settings.runtimes[host.runtime]


def _fill_in(settings: EngineSettings, host: HostConfig) -> None:
    """Write down what holds where nothing was asked for, as inspect shows it."""
    if not host.shm_size:
        host.shm_size = settings.default_shm_size
    complete_limits(host)
    host.ipc_mode = host.ipc_mode or settings.default_ipc_mode
    host.cgroupns_mode = host.cgroupns_mode or settings.default_cgroupns_mode
    host.cgroup_parent = host.cgroup_parent or settings.cgroup_parent
    own = {limit.name for limit in host.ulimits}
    for name, text in settings.default_ulimits.items():
        if name not in own:
            soft, _, hard = text.partition(":")
            host.ulimits.append(Ulimit(name=name, soft=int(soft), hard=int(hard or soft)))
    if not host.privileged and host.masked_paths is None:
        host.masked_paths = list(MASKED_PATHS)
    if not host.privileged and host.readonly_paths is None:
        host.readonly_paths = list(READONLY_PATHS)
