"""Platforms: operating system, processor and variant; which entry of an index fits this machine.

Vocabulary, normalisation and preference order follow containerd/platforms. Standard library
only, because the client imports it.
"""

from __future__ import annotations

import os

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


_COMPONENT: Final = r"[A-Za-z0-9_.-]+"
_SYSTEMS: Final = frozenset({"darwin", "freebsd", "linux", "macos", "netbsd", "openbsd", "windows"})
_ARCHITECTURES: Final = frozenset(
    {
        *("386", "amd64", "arm", "arm64", "loong64"),
        *("mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"),
    }
)
_ALIASES: Final = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
}


class Platform(NamedTuple):
    """What an image runs on; empty parts say nothing."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        """Return ``os/architecture[/variant]``."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalized(self) -> Platform:
        """Return the spelling under which equal platforms compare equal."""
        system = self.os.lower()
        architecture, variant = _normalize(self.architecture.lower(), self.variant.lower())
        return self._replace(
            os="darwin" if system == "macos" else system,
            architecture=architecture,
            variant=variant,
        )


def host_platform(machine: str | None = None) -> Platform:
    """Return this machine's platform.

    Args:
        machine: ``uname -m`` of another machine, for a test.
    """
    return Platform("linux", machine or os.uname().machine).normalized()


def parse_platform(text: str, *, host: Platform | None = None) -> Platform:
    """Parse ``os``, ``architecture``, ``os/architecture`` or ``os/architecture/variant``.

    A part that is not given is the host's.

    Raises:
        InvalidParameterError: ``text`` is not a platform.
    """
    import re  # noqa: PLC0415 - few processes meet a platform as text

    parts = text.split("/")
    for part in parts:
        if re.fullmatch(_COMPONENT, part) is None:
            raise InvalidParameterError(
                f'"{part}" is an invalid component of platform "{text}": use os/architecture'
            )
    match parts:
        case [single]:
            return _parse_single(single, host or host_platform())
        case [system, architecture]:
            return Platform(system, architecture).normalized()
        case [system, architecture, variant]:
            return Platform(system, architecture, variant).normalized()
        case _:
            raise InvalidParameterError(
                f'cannot parse platform "{text}": use os/architecture[/variant]'
            )


def compatible_platforms(wanted: Platform) -> tuple[Platform, ...]:
    """Return what runs on ``wanted``, best first (containerd's ``platforms.Only``)."""
    wanted = wanted.normalized()
    fitting = [wanted]
    if wanted.architecture == "amd64":
        level = _level(wanted.variant)
        fitting += [
            wanted._replace(variant=f"v{n}" if n > 1 else "") for n in range(level - 1, 0, -1)
        ]
        fitting.append(wanted._replace(architecture="386", variant=""))
    elif wanted.architecture == "arm":
        fitting += _arm_below(wanted, _level(wanted.variant) - 1)
    elif wanted.architecture == "arm64":
        fitting += _arm_below(wanted, 8)
    return tuple(fitting)


def best_match(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """Return the index of the entry that fits ``wanted`` best, or None.

    An entry without a platform fits anything, but only if no other does. Of equals, the first.
    """
    order = [(p.os, p.architecture, p.variant) for p in compatible_platforms(wanted)]
    best: tuple[int, int] | None = None
    for index, platform in enumerate(offered):
        if platform is None:
            rank = len(order)
        else:
            key = platform.normalized()[:3]
            if key not in order:
                continue
            rank = order.index(key)
        if best is None or rank < best[0]:
            best = (rank, index)
    return best[1] if best else None


def _parse_single(part: str, host: Platform) -> Platform:
    if part.lower() in _SYSTEMS:
        return host._replace(os=part).normalized()
    architecture, variant = _normalize(part.lower(), "")
    if architecture in _ARCHITECTURES:
        if architecture == host.architecture and not variant:
            variant = host.variant
        return Platform(host.os, architecture, variant).normalized()
    raise InvalidParameterError(f'"{part}": unknown operating system or architecture')


def _normalize(architecture: str, variant: str) -> tuple[str, str]:
    alias = _ALIASES.get(architecture)
    if alias:
        architecture, variant = alias[0], variant or alias[1]
    if architecture == "arm64" and variant in {"8", "v8"}:
        return architecture, ""
    if architecture == "amd64" and variant == "v1":
        return architecture, ""
    if architecture == "arm":
        if variant in {"", "7"}:
            return architecture, "v7"
        if variant in {"5", "6", "8"}:
            return architecture, f"v{variant}"
    return architecture, variant


def _level(variant: str) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isdigit() and len(digits) == 1 else 1


def _arm_below(wanted: Platform, highest: int) -> list[Platform]:
    return [wanted._replace(architecture="arm", variant=f"v{n}") for n in range(highest, 4, -1)]
