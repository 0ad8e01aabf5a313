"""kedged's flags that set defaults of containers: dockerd's names and forms.

Kept apart from `kedge.daemon.config`, which knows files, precedence and types.
"""

import argparse
import shlex
from collections.abc import Container
from typing import Final

from kedge.engine.defaults import OWN_RUNTIME
from kedge.engine.limits import ULIMITS
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def add_container_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to kedged's parser."""
    add = parser.add_argument
    add("--init-path", metavar="PATH", help="static init program for --init")
    add(
        "--cdi-spec-dir", dest="cdi_spec_dirs", action="append", metavar="DIR",
        help="folder with CDI specifications (default /etc/cdi and /var/run/cdi)",
    )  # fmt: skip
    add("--cgroup-parent", metavar="PATH", help="cgroup that holds the containers'")
    add("--default-ipc-mode", metavar="MODE", help="private or shareable")
    add("--default-cgroupns-mode", metavar="MODE", help="private or host")
    add("--default-shm-size", metavar="SIZE", help="size of /dev/shm (default 64m)")
    add(
        "--default-ulimit", dest="default_ulimits", action="append", metavar="NAME=SOFT[:HARD]",
        help="resource limit of containers",
    )  # fmt: skip
    add(
        "--add-runtime", dest="runtimes", action="append", metavar="NAME=PATH",
        help="name an OCI runtime",
    )  # fmt: skip
    add("--default-runtime", metavar="NAME", help="runtime of containers that ask for none")


def read_container_flags(flags: JsonObject) -> None:
    """Turn the texts of the flags into the values of the configuration, in place.

    Raises:
        InvalidParameterError: A malformed value.
    """
    for key, flag in (("default_ulimits", "--default-ulimit"), ("runtimes", "--add-runtime")):
        if key in flags:
            flags[key] = _parse_pairs(flags[key], flag)
    if isinstance(runtimes := flags.get("runtimes"), dict):
        flags["runtimes"] = {name: shlex.quote(str(path)) for name, path in runtimes.items()}
    if "default_shm_size" in flags:
        flags["default_shm_size"] = _parse_size(flags["default_shm_size"])


def read_container_keys(values: JsonObject) -> JsonObject:
    """Return the keys of a daemon.json with dockerd's shapes turned into the configuration's.

    Raises:
        InvalidParameterError: A malformed value.
    """
    if "default_shm_size" in values:
        values["default_shm_size"] = _parse_size(values["default_shm_size"])
    runtimes = values.get("runtimes")
    if isinstance(runtimes, dict):
        values["runtimes"] = {name: _runtime_line(name, item) for name, item in runtimes.items()}
    ulimits = values.get("default_ulimits")
    if isinstance(ulimits, dict):
        values["default_ulimits"] = {
            name: _ulimit_text(name, item) for name, item in ulimits.items()
        }
    return values


def check_default_runtime(name: str, runtimes: Container[str]) -> None:
    """Raise unless the runtime exists.

    Raises:
        InvalidParameterError: It is not registered, with Docker's text.
    """
    if name != OWN_RUNTIME and name not in runtimes:
        raise InvalidParameterError(
            f"specified default runtime '{name}' does not exist: register it with --add-runtime"
        )


def check_container_defaults(*, ipc_mode: str, cgroupns_mode: str, ulimits: dict[str, str]) -> None:
    """Raise unless the defaults of containers are known words and numbers."""
    if ipc_mode not in {"private", "shareable"}:
        raise InvalidParameterError(
            f'IPC mode "{ipc_mode}" is not supported as default: want private or shareable'
        )
    if cgroupns_mode not in {"", "private", "host"}:
        raise InvalidParameterError(
            f'default cgroup namespace mode "{cgroupns_mode}" is invalid: want private or host'
        )
    for name, text in ulimits.items():
        soft, _, hard = text.partition(":")
        numbers = [soft, hard or soft]
        if name not in ULIMITS or not all(item.removeprefix("-").isdecimal() for item in numbers):
            raise InvalidParameterError(f"default-ulimit {name}={text}: want name=soft[:hard]")


def _parse_pairs(values: Json, flag: str) -> JsonObject:
    pairs: JsonObject = {}
    for item in values if isinstance(values, list) else []:
        name, separator, value = str(item).partition("=")
        if not separator or not name or not value:
            raise InvalidParameterError(f"{flag} {item}: want NAME=VALUE")
        pairs[name] = value
    return pairs


def _parse_size(value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).lower().removesuffix("b")
    number = text.rstrip("kmgt")
    unit = text[len(number) :]
    if not number.isdecimal() or unit not in _UNITS:
        raise InvalidParameterError(f"default-shm-size: {value}: want a size such as 64m")
    return int(number) * _UNITS[unit]


def _runtime_line(name: str, item: Json) -> str:
    """Return path and ``runtimeArgs`` as a command line."""
    path = item.get("path") if isinstance(item, dict) else None
    if not isinstance(path, str) or not path:
        raise InvalidParameterError(f"runtimes: {name}: want an object with a path")
    others = sorted(set(item) - {"path", "runtimeArgs"}) if isinstance(item, dict) else []
    if others:
        raise InvalidParameterError(f"runtimes: {name}: {others[0]} is not supported")
    words = item.get("runtimeArgs", list[Json]()) if isinstance(item, dict) else list[Json]()
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidParameterError(f"runtimes: {name}: runtimeArgs: want a list of texts")
    return shlex.join([path, *map(str, words)])


def _ulimit_text(name: str, item: Json) -> str:
    if isinstance(item, dict):
        soft, hard = item.get("Soft"), item.get("Hard")
        if type(soft) is type(hard) is int:
            return f"{soft}:{hard}"
    raise InvalidParameterError(f"default-ulimits: {name}: want an object with Soft and Hard")
