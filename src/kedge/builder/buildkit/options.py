"""Options of the ``dockerfile.v0`` frontend as part of a build request. Pure.

Source: BuildKit's ``frontend/dockerui``; an option this engine does not have is refused by name
where leaving it out would change the result.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from kedge.api.buildcaches import BuildCacheSpec, make_cache
from kedge.builder.steps import StepLimits
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import Platform, parse_platform

FRONTEND: Final = "dockerfile.v0"
SESSION_URL: Final = "http://buildkit-session/"
"""Contexts below this are uploaded by the client's session."""

_ARGUMENT: Final = "build-arg:"
_LABEL: Final = "label:"
_CONTEXT: Final = "context:"
_ATTEST: Final = "attest:"
_FOLDER_SESSION: Final = "local-sessionid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendOptions:
    """What a client asks of the frontend."""

    filename: str
    context: str
    """URL of the context; empty for the client's folder."""
    context_name: str
    """What the client calls the folder of the context."""
    dockerfile_name: str
    """The same of the Dockerfile's; empty where it is in the remote context."""
    target: str
    platforms: tuple[Platform, ...]
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    contexts: Mapping[str, str]
    attests: Mapping[str, str]
    """What the image is to say of itself, by kind."""
    cache_from: tuple[BuildCacheSpec, ...]
    folder_sessions: Mapping[str, str]
    """Session that lends a folder, by the folder's name, where it is not the build's own."""
    extra_hosts: tuple[str, ...]
    network_mode: str
    pull: bool
    no_cache: bool
    no_cache_stages: tuple[str, ...]
    limits: StepLimits


def parse_options(options: Mapping[str, str]) -> FrontendOptions:
    """Return the options of a build.

    Raises:
        InvalidParameterError: One that is malformed.
    """
    context = options.get("context", "")
    own_dockerfile = "dockerfilekey" in options or not context
    no_cache = options.get("no-cache")
    stages = _fields("no-cache", no_cache or "")
    return FrontendOptions(
        filename=options.get("filename") or "Dockerfile",
        context=context,
        context_name=options.get("contextkey") or "context",
        dockerfile_name=options.get("dockerfilekey") or "dockerfile" if own_dockerfile else "",
        target=options.get("target", ""),
        platforms=tuple(
            parse_platform(one) for one in _fields("platform", options.get("platform", ""))
        ),
        build_args=_prefixed(options, _ARGUMENT),
        labels=_prefixed(options, _LABEL),
        contexts=_prefixed(options, _CONTEXT),
        attests=_prefixed(options, _ATTEST),
        cache_from=_imports(options),
        folder_sessions=_prefixed(options, _FOLDER_SESSION),
        extra_hosts=tuple(_host(one) for one in _fields("add-hosts", options.get("add-hosts", ""))),
        network_mode=_network(options.get("force-network-mode", "")),
        pull=options.get("image-resolve-mode") == "pull",
        no_cache=no_cache == "",
        no_cache_stages=tuple(stages),
        limits=_limits(options),
    )


def _limits(options: Mapping[str, str]) -> StepLimits:
    def amount(name: str) -> int:
        text = options.get(name, "")
        try:
            return int(text or 0)
        except ValueError:
            raise InvalidParameterError(
                f"invalid {name} of a build: {text}: want a number"
            ) from None

    return StepLimits(
        memory_bytes=amount("memory"),
        memory_swap_bytes=amount("memswap"),
        cpu_shares=amount("cpushares"),
        cpu_period_us=amount("cpuperiod"),
        cpu_quota_us=amount("cpuquota"),
        cpuset_cpus=options.get("cpusetcpus", ""),
        cpuset_mems=options.get("cpusetmems", ""),
        shm_size_bytes=amount("shm-size"),
        ulimits=tuple(_fields("ulimit", options.get("ulimit", ""))),
        cgroup_parent=options.get("cgroup-parent", ""),
    )


def _prefixed(options: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        key.removeprefix(prefix): value
        for key, value in options.items()
        if key.startswith(prefix) and key != prefix
    }


def read_cache(kind: str, attributes: Mapping[str, str], *, target: bool) -> BuildCacheSpec:
    """Return a cache to read, or to write if ``target``.

    Raises:
        InvalidParameterError: A kind or an attribute that does not exist.
    """
    # Emptying the folder of what is no longer in use is the client's own business.
    kept = {name: value for name, value in attributes.items() if name != "reset"}
    return make_cache(kind, kept, target=target)


class _Entry(msgspec.Struct, rename="pascal"):
    type: str
    attrs: dict[str, str] | None = None


def _imports(options: Mapping[str, str]) -> tuple[BuildCacheSpec, ...]:
    document = options.get("cache-imports")
    if document is None:
        names = _fields("cache-from", options.get("cache-from", ""))
        return tuple(read_cache("registry", {"ref": name}, target=False) for name in names)
    try:
        entries = msgspec.json.decode(document.encode(), type=list[_Entry])
    except msgspec.DecodeError as error:
        raise InvalidParameterError(f"invalid cache-imports: {error}") from None
    return tuple(read_cache(one.type, one.attrs or {}, target=False) for one in entries)


def _fields(name: str, text: str) -> list[str]:
    try:
        rows = list(csv.reader([text]))
    except csv.Error as error:
        raise InvalidParameterError(f"invalid value of {name}: {error}") from None
    return [item.strip() for item in rows[0] if item.strip()] if rows else []


def _host(text: str) -> str:
    name, equals, address = text.partition("=")
    if not equals:
        raise InvalidParameterError(f"invalid host {text!r}: want NAME=ADDRESS")
    return f"{name}:{address}"


def _network(mode: str) -> str:
    return "default" if mode in ("", "sandbox") else mode
