"""kedged's configuration: dockerd's flags of the same meaning, and a daemon.json of its shape.

Flags win over the file; naming one setting in both is an error, as in dockerd. A key that kedge
does not know is refused with its name, because a setting that is silently ignored is worse.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from kedge import __version__
from kedge.daemon.containerflags import (
    add_container_flags,
    check_container_defaults,
    check_default_runtime,
    read_container_flags,
    read_container_keys,
)
from kedge.engine.buildgc import parse_gc
from kedge.engine.cdi import DEFAULT_SPEC_DIRS
from kedge.engine.defaults import OWN_RUNTIME, SHM_SIZE_BYTES
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

DEFAULT_DATA_ROOT: Final = "/var/lib/kedge"
DEFAULT_EXEC_ROOT: Final = "/run/kedge"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """Everything that can be set; each default is what kedged does without a flag."""

    data_root: str = DEFAULT_DATA_ROOT
    exec_root: str = DEFAULT_EXEC_ROOT
    hosts: tuple[str, ...] = ()
    pidfile: str = ""
    debug: bool = False
    iptables: bool = True
    ip_forward: bool = True
    ipv6: bool = False
    bip: str = ""
    bridge: str = ""
    mtu: int = 0
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    certs_dir: str = "/etc/kedge/certs.d"
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    live_restore: bool = True
    fast_stop: bool = True
    host_certs: str = "auto"
    userns_remap: str = ""
    log_driver: str = "json-file"
    log_opts: dict[str, str] = field(default_factory=dict[str, str])
    init: bool = False
    init_path: str = ""
    cdi_spec_dirs: tuple[str, ...] = DEFAULT_SPEC_DIRS
    cgroup_parent: str = ""
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    default_shm_size: int = SHM_SIZE_BYTES
    default_ulimits: dict[str, str] = field(default_factory=dict[str, str])
    runtimes: dict[str, str] = field(default_factory=dict[str, str])
    """Command line of each OCI runtime, quoted as for a shell."""
    default_runtime: str = OWN_RUNTIME
    builder_gc: JsonObject = field(default_factory=dict[str, Json])
    """``builder.gc``: how much build cache is kept."""

    @property
    def listen(self) -> tuple[str, ...]:
        """The addresses to serve, the default socket when none was given."""
        return self.hosts or (f"unix://{os.path.join(self.exec_root, 'kedge.sock')}",)


_HOST_CERTS: Final = ("auto", "true", "false")

_FILE_KEYS: Final = {
    "data-root": "data_root",
    "exec-root": "exec_root",
    "hosts": "hosts",
    "pidfile": "pidfile",
    "debug": "debug",
    "iptables": "iptables",
    "ip-forward": "ip_forward",
    "ipv6": "ipv6",
    "bip": "bip",
    "bridge": "bridge",
    "mtu": "mtu",
    "dns": "dns",
    "dns-search": "dns_search",
    "dns-opts": "dns_opts",
    "labels": "labels",
    "registry-mirrors": "registry_mirrors",
    "insecure-registries": "insecure_registries",
    "certs-dir": "certs_dir",
    "http-proxy": "http_proxy",
    "https-proxy": "https_proxy",
    "no-proxy": "no_proxy",
    "max-concurrent-downloads": "max_concurrent_downloads",
    "max-concurrent-uploads": "max_concurrent_uploads",
    "max-download-attempts": "max_download_attempts",
    "live-restore": "live_restore",
    "fast-stop": "fast_stop",
    "host-certs": "host_certs",
    "userns-remap": "userns_remap",
    "log-driver": "log_driver",
    "log-opts": "log_opts",
    "init": "init",
    "init-path": "init_path",
    "cdi-spec-dirs": "cdi_spec_dirs",
    "cgroup-parent": "cgroup_parent",
    "default-ipc-mode": "default_ipc_mode",
    "default-cgroupns-mode": "default_cgroupns_mode",
    "default-shm-size": "default_shm_size",
    "default-ulimits": "default_ulimits",
    "runtimes": "runtimes",
    "default-runtime": "default_runtime",
}


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "t", "true"}:
        return True
    if text.lower() in {"0", "f", "false"}:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kedged",
        description="The kedge engine: serves the Docker Engine API and runs containers.",
        epilog="Example: kedged --data-root /srv/kedge -H unix:///run/kedge.sock",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-v", "--version", action="version", version=f"kedged {__version__}")
    add("--config-file", metavar="FILE", help="configuration file (default /etc/kedge/daemon.json)")
    add("--data-root", "-g", metavar="DIR", help="images, volumes and records")
    add("--exec-root", metavar="DIR", help="sockets and state of running containers")
    add("-H", "--host", dest="hosts", action="append", metavar="ADDRESS", help="unix:// or tcp://")
    add("-p", "--pidfile", metavar="FILE", help="file to write the process id to")
    add("--mtu", type=int, metavar="BYTES", help="MTU of the default bridge (default: the host's)")
    add("--bip", metavar="CIDR", help="address of the default bridge")
    add("-b", "--bridge", metavar="NAME", help="name of the default bridge")
    add("--log-driver", metavar="NAME", help="default log driver")
    add("--log-opt", dest="log_opts", action="append", metavar="KEY=VALUE")
    for name, dest in (("dns", "dns"), ("dns-search", "dns_search"), ("dns-opt", "dns_opts")):
        add(f"--{name}", dest=dest, action="append", metavar="VALUE", help="for containers")
    add("--label", dest="labels", action="append", metavar="KEY=VALUE", help="of the engine")
    add("--registry-mirror", dest="registry_mirrors", action="append", metavar="URL")
    add("--insecure-registry", dest="insecure_registries", action="append", metavar="HOST")
    add("--certs-dir", metavar="DIR", help="certificates and mirrors of single registries")
    for name in ("http-proxy", "https-proxy", "no-proxy"):
        add(f"--{name}", metavar="URL", help="for the engine's own requests")
    for name in ("concurrent-downloads", "concurrent-uploads", "download-attempts"):
        add(f"--max-{name}", type=int, metavar="N", help="of layers")
    add(
        "--userns-remap",
        metavar="USER",
        help="run containers in user namespaces: default, user[:group] or uid[:gid]",
    )
    add("--host-certs", choices=_HOST_CERTS, help="give builds the host's CA certificates")
    add_container_flags(parser)
    for name, dest, text in (
        ("-D --debug", "debug", "log more"),
        ("--iptables", "iptables", "load packet filter rules"),
        ("--ip-forward", "ip_forward", "switch on IP forwarding"),
        ("--ipv6", "ipv6", "IPv6 addresses on the default bridge"),
        ("--init", "init", "run an init in every container"),
        ("--live-restore", "live_restore", "leave containers running when the engine stops"),
        ("--fast-stop", "fast_stop", "kill at once what the stop signal cannot reach"),
    ):
        flags = name.split()
        add(*flags, dest=dest, nargs="?", const=True, type=_parse_bool, help=text, metavar="BOOL")
    return parser


def load_config(arguments: Sequence[str]) -> DaemonConfig:
    """Return the configuration from flags and file.

    Args:
        arguments: The command line without the program's name.

    Raises:
        InvalidParameterError: The file is not readable, not JSON, has an unknown key or a value
            of the wrong type, or repeats a flag.
        SystemExit: ``--help``, ``--version`` or a malformed command line.
    """
    flags: dict[str, Json] = vars(_make_parser().parse_args(arguments))
    path = flags.pop("config_file", None)
    values = _load_file(str(path) if path else "/etc/kedge/daemon.json", required=path is not None)
    both = sorted(set(values) & set(flags))
    if both:
        names = ", ".join(key for key, dest in _FILE_KEYS.items() if dest in both)
        raise InvalidParameterError(
            f"the following directives are specified both as a flag and in the configuration file: "
            f"{names}: remove one of the two"
        )
    read_container_flags(flags)
    if "log_opts" in flags:
        flags["log_opts"] = _parse_options(flags["log_opts"])
    return _convert({**values, **flags})


def _load_file(path: str, *, required: bool) -> JsonObject:
    try:
        with open(path, encoding="utf-8") as stream:
            document = cast("Json", json.load(stream))
    except FileNotFoundError:
        if required:
            raise InvalidParameterError(f"configuration file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"configuration file {path}: {error}") from None
    if not isinstance(document, dict):
        raise InvalidParameterError(f"configuration file {path}: not a JSON object")
    # dockerd's file has the three proxies in an object of their own.
    proxies = document.pop("proxies", {})
    if not isinstance(proxies, dict):
        raise InvalidParameterError(f"configuration file {path}: proxies: not a JSON object")
    document.update(proxies)
    builder = document.pop("builder", {})
    if not isinstance(builder, dict) or set(builder) - {"gc", "entitlements"}:
        raise InvalidParameterError(f"configuration file {path}: builder: want an object with gc")
    parse_gc(builder.get("gc"))
    unknown = sorted(set(document) - set(_FILE_KEYS))
    if unknown:
        raise InvalidParameterError(
            f"configuration file {path}: unknown directives: {', '.join(unknown)}"
        )
    values = read_container_keys({_FILE_KEYS[key]: value for key, value in document.items()})
    return {**values, "builder_gc": builder["gc"]} if builder.get("gc") else values


def _parse_options(values: Json) -> JsonObject:
    options: JsonObject = {}
    for item in values if isinstance(values, list) else []:
        key, separator, value = str(item).partition("=")
        if not separator:
            raise InvalidParameterError(f"--log-opt {item}: want KEY=VALUE")
        options[key] = value
    return options


def _convert(values: JsonObject) -> DaemonConfig:
    defaults = DaemonConfig()
    converted: dict[str, object] = {}
    for name, value in values.items():
        default: object = getattr(defaults, name)
        converted[name] = _convert_one(name, value, default)
    config = DaemonConfig(**converted)  # type: ignore[arg-type]
    limits = (config.max_concurrent_downloads, config.max_concurrent_uploads)
    if min(*limits, config.max_download_attempts) < 1:
        raise InvalidParameterError(
            "max-concurrent-downloads, max-concurrent-uploads and max-download-attempts:"
            " want 1 or more"
        )
    if config.host_certs not in _HOST_CERTS:
        raise InvalidParameterError(f"host-certs: {config.host_certs}: want auto, true or false")
    check_container_defaults(
        ipc_mode=config.default_ipc_mode,
        cgroupns_mode=config.default_cgroupns_mode,
        ulimits=config.default_ulimits,
    )
    check_default_runtime(config.default_runtime, config.runtimes)
    return config


def _convert_one(name: str, value: Json, default: object) -> object:
    match default:
        case bool() if isinstance(value, bool):
            return value
        case int() if type(value) is type(default) is int:
            return value
        case str() if isinstance(value, str):
            return value
        case tuple() if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        case dict() if isinstance(value, dict) and name == "builder_gc":
            return value
        case dict() if isinstance(value, dict):
            return {key: str(item) for key, item in value.items()}
        case _:
            raise InvalidParameterError(
                f"{name.replace('_', '-')}: {value!r} is not of the right type"
            )
