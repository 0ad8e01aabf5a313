"""From a container's log options to what its shim is told: files, and services of the host.

A driver that sends lines elsewhere also keeps them in a file, so that ``docker logs`` works with
every driver but ``none`` (Docker's dual logging).
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

from kedge.engine import logoptions
from kedge.engine.context import EngineContext
from kedge.engine.logtags import (
    extra_attributes,
    journal_fields,
    json_attributes,
    render_tag,
)
from kedge.engine.paths import EnginePaths
from kedge.engine.record import ContainerRecord
from kedge.errdefs import SystemFailureError
from kedge.shim.logconfig import LogConfig, LogForward

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_SYSLOG_SOCKETS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")


def settled(context: EngineContext, record: ContainerRecord) -> tuple[str, dict[str, str]]:
    """Return a container's log driver and all its options."""
    own, settings = record.host_config.log_config, context.settings
    return logoptions.settle_log_options(
        own.type,
        own.config or {},
        default_driver=settings.log_driver,
        defaults=settings.log_opts,
    )


def readable_path(paths: EnginePaths, record: ContainerRecord) -> str:
    """Return the file that ``docker logs`` reads; empty when the container keeps none."""
    own = record.host_config.log_config
    if own.type == logoptions.NONE:
        return ""
    if own.type in {"", logoptions.JSON_FILE}:
        return paths.log_path(record.id)
    if own.type != logoptions.LOCAL and logoptions.cache_disabled(own.config or {}):
        return ""
    return paths.local_log_path(record.id)


async def make_log_config(context: EngineContext, record: ContainerRecord) -> LogConfig | None:
    """Return what the shim of ``record`` is told; None when nothing is kept.

    Raises:
        SystemFailureError: The host has no such service.
    """
    driver, options = settled(context, record)
    if driver == logoptions.NONE:
        return None
    path = readable_path(context.paths, record)
    if driver == logoptions.JSON_FILE:
        kept = logoptions.file_options(driver, options)
        attributes = extra_attributes(record, options)
        if options.get("tag"):
            attributes["tag"] = render_tag(record, options, hostname=socket.gethostname())
        return LogConfig(path, *kept, attrs=json_attributes(attributes))
    if driver == logoptions.LOCAL:
        return LogConfig(path, *logoptions.file_options(driver, options))
    kept = logoptions.cache_options(options)
    shown = json_attributes(extra_attributes(record, options))
    make = _journald if driver == logoptions.JOURNALD else _syslog
    forward = await context.run_job(lambda: make(record, options))
    return LogConfig(
        path,
        *kept,
        attrs=shown,
        forward=forward,
        buffer_size=logoptions.buffer_size(options),
    )


def _journald(record: ContainerRecord, options: Mapping[str, str]) -> LogForward:
    if not os.path.exists(JOURNAL_SOCKET):
        raise _failure("journald is not enabled on this host: use --log-driver json-file or local")
    tag = render_tag(record, options, hostname=socket.gethostname())
    return LogForward(
        driver=logoptions.JOURNALD,
        network="unixgram",
        address=JOURNAL_SOCKET,
        tag=tag,
        labels=journal_fields(record, options, tag=tag),
    )


def _syslog(record: ContainerRecord, options: Mapping[str, str]) -> LogForward:
    hostname = socket.gethostname()
    network, address = logoptions.syslog_address(options)
    if not network:
        network, address = _find_local_syslog()
    elif not network.startswith("unix"):
        address = _resolve(network, address)
    return LogForward(
        driver=logoptions.SYSLOG,
        network=network,
        address=address,
        tag=render_tag(record, options, hostname=hostname),
        format=logoptions.syslog_format(options),
        facility=logoptions.syslog_facility(options),
        hostname=hostname,
    )


def _find_local_syslog() -> tuple[str, str]:
    kinds = (("unixgram", socket.SOCK_DGRAM), ("unix", socket.SOCK_STREAM))
    for path in _SYSLOG_SOCKETS:
        for network, kind in kinds:
            with socket.socket(socket.AF_UNIX, kind) as probe:
                if probe.connect_ex(path) == 0:
                    return network, path
    raise _failure(
        "Unix syslog delivery error: this host has no syslog service at /dev/log: name one with "
        "--log-opt syslog-address=udp://host:514"
    )


def _resolve(network: str, address: str) -> str:
    """Return a numeric address: the shim looks no names up."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    kind = socket.SOCK_DGRAM if network == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, int(port), type=kind)
    except OSError as error:
        raise _failure(f"dial {network}: lookup {host}: {error.strerror or error}") from error
    family, numeric = found[0][0], str(found[0][4][0])
    return f"[{numeric}]:{port}" if family == socket.AF_INET6 else f"{numeric}:{port}"


def _failure(text: str) -> SystemFailureError:
    return SystemFailureError(f"failed to initialize logging driver: {text}")
