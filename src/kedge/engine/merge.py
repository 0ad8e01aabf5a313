"""An image's defaults under a container's own configuration, by Docker's rules. Pure."""

from collections.abc import Sequence

import msgspec

from kedge.api.types.config import ContainerConfig, HealthConfig
from kedge.api.types.wire import Empty
from kedge.engine.defaults import DEFAULT_PATH
from kedge.errdefs import InvalidParameterError
from kedge.oci.image_spec import ContainerConfig as ImageDefaults


def merge_config(config: ContainerConfig, image: ImageDefaults) -> ContainerConfig:
    """Return ``config`` with what it leaves open filled from ``image``.

    An entrypoint of the container's own drops the image's command, because the two belong
    together. Sources: moby ``daemon/commit.go`` (`merge`).
    """
    merged = msgspec.structs.replace(config)
    merged.user = config.user or image.user
    merged.working_dir = config.working_dir or image.working_dir
    merged.stop_signal = config.stop_signal or image.stop_signal
    merged.env = merge_env(image.env, config.env)
    merged.labels = {**image.labels, **config.labels}
    merged.exposed_ports = {
        **{port: Empty() for port in image.exposed_ports},
        **config.exposed_ports,
    }
    merged.volumes = {**{path: Empty() for path in image.volumes}, **config.volumes}
    if config.stop_timeout is None:
        merged.stop_timeout = image.stop_timeout
    if config.shell is None and image.shell:
        merged.shell = list(image.shell)
    # The client sends [""] for --entrypoint "", which resets the image's.
    if config.entrypoint:
        merged.entrypoint = None if list(config.entrypoint) == [""] else list(config.entrypoint)
    else:
        merged.entrypoint = list(image.entrypoint) or None
        if not config.cmd:
            merged.cmd = list(image.cmd) or None
            merged.args_escaped = image.args_escaped
    merged.healthcheck = _merge_health(config.healthcheck, image)
    return merged


def merge_env(lower: Sequence[str], upper: Sequence[str]) -> list[str]:
    """Return ``lower`` with the variables of ``upper`` replaced in place or appended."""
    values = {item.partition("=")[0]: item for item in lower}
    for item in upper:
        values[item.partition("=")[0]] = item
    return list(values.values())


def process_env(config: ContainerConfig) -> tuple[str, ...]:
    """Return the environment of a process: PATH, HOSTNAME and TERM as Docker sets them."""
    env = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={config.hostname}"]
    if config.tty:
        env.append("TERM=xterm")
    # A name without a value unsets an image's variable.
    return tuple(item for item in merge_env(env, config.env) if "=" in item)


def command_line(config: ContainerConfig) -> list[str]:
    """Return the program and its arguments.

    Raises:
        InvalidParameterError: Neither the image nor the request names a program.
    """
    args = [*(config.entrypoint or []), *(config.cmd or [])]
    if not args:
        raise InvalidParameterError("no command specified")
    if not args[0]:
        raise InvalidParameterError("no command specified: the first word of the command is empty")
    return args


def _merge_health(own: HealthConfig | None, image: ImageDefaults) -> HealthConfig | None:
    base = image.healthcheck
    if base is None:
        return own
    if own is None:
        own = HealthConfig()
    return HealthConfig(
        test=list(own.test or base.test),
        interval=own.interval or base.interval,
        timeout=own.timeout or base.timeout,
        start_period=own.start_period or base.start_period,
        start_interval=own.start_interval or base.start_interval,
        retries=own.retries or base.retries,
    )
