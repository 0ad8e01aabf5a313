"""ARG: the global scope before the first FROM, a stage's own, and the predefined names.

A value comes from ``--build-arg``, else from the default in the stage, else from the global
scope. Proxy variables need no ARG, reach every RUN and never a cache key or the history.
"""

from collections.abc import Callable, Mapping
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Arg, Dockerfile
from kedge.builder.dockerfile.shell import ShellLexer
from kedge.oci.platforms import Platform

_PROXY_NAMES: Final = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
PROXY_ARGS: Final = frozenset((*_PROXY_NAMES, *(name.upper() for name in _PROXY_NAMES)))

SOURCE_DATE_EPOCH: Final = "SOURCE_DATE_EPOCH"
_CONTROL_PREFIX: Final = "BUILDKIT_"


def platform_args(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """Return TARGETPLATFORM and its siblings; a stage sees the ones it declares."""
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}OSVERSION"] = platform.os_version
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    values["TARGETSTAGE"] = stage or "default"
    return values


def global_scope(
    dockerfile: Dockerfile, build_args: Mapping[str, str], predefined: Mapping[str, str]
) -> dict[str, str]:
    """Return what FROM may use: predefined values and the ARGs before the first FROM.

    Raises:
        DockerfileError: A default cannot be expanded.
    """
    lexer = ShellLexer(escape=dockerfile.escape)
    scope = {name: build_args.get(name, value) for name, value in predefined.items()}
    for arg in dockerfile.global_args:
        for name in arg.names:
            try:
                value = argument_value(name.name, name.default, lexer, scope, build_args)
            except DockerfileError as error:
                raise error.at(arg.origin.line) from None
            if value is not None:
                scope[name.name] = value
    return scope


def argument_value(
    name: str,
    default: str | None,
    lexer: ShellLexer,
    environment: Mapping[str, str],
    build_args: Mapping[str, str],
) -> str | None:
    """Return the value an ARG of this name and default takes, or None without one."""
    if name in build_args:
        return build_args[name]
    return None if default is None else lexer.word(default, environment)


def proxy_environment(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ``NAME=value`` of the proxies among ``build_args``, in both spellings."""
    found: dict[str, str] = {}
    for name in _PROXY_NAMES:
        value = build_args.get(name.upper(), build_args.get(name))
        if value:
            found[name.upper()] = build_args.get(name.upper(), value)
            found[name] = build_args.get(name, value)
    return tuple(f"{name}={value}" for name, value in found.items())


def unconsumed_args(
    dockerfile: Dockerfile, build_args: Mapping[str, str], predefined: Mapping[str, str]
) -> list[str]:
    """Return the build arguments that no ARG of the file asks for, sorted."""
    declared = {name.name for arg in dockerfile.global_args for name in arg.names}
    for stage in dockerfile.stages:
        for command in stage.commands:
            if isinstance(command, Arg):
                declared.update(name.name for name in command.names)
    known = {*declared, *predefined, *PROXY_ARGS, SOURCE_DATE_EPOCH}
    return sorted(
        name for name in build_args if name not in known and not name.startswith(_CONTROL_PREFIX)
    )


def source_date_epoch(
    build_args: Mapping[str, str],
    scope: Mapping[str, str],
    newest_ns: Callable[[str], int | None],
) -> int | None:
    """Return SOURCE_DATE_EPOCH in nanoseconds, or None when it is not given.

    Args:
        build_args: The build's arguments.
        scope: Those of the file.
        newest_ns: Returns when the files of a context last changed: of ``context`` or a named one.

    Raises:
        DockerfileError: It is neither a number of seconds nor a context that has files.
    """
    text = build_args.get(SOURCE_DATE_EPOCH) or scope.get(SOURCE_DATE_EPOCH, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 11:
        newest = newest_ns(text)
        if newest is None:
            raise DockerfileError(
                f"invalid SOURCE_DATE_EPOCH {text}: use seconds since 1970, context, or the name "
                "of a named context that holds files"
            )
        return newest - newest % 1_000_000_000
    return int(text) * 1_000_000_000
