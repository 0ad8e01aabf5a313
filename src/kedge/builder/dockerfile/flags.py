"""The ``--name[=value]`` flags between an instruction and its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from kedge.builder.dockerfile.errors import DockerfileError, suggestion


class FlagKind(Enum):
    """What a flag takes."""

    TEXT = auto()
    SWITCH = auto()
    """``--x``, ``--x=true`` or ``--x=false``."""
    LIST = auto()
    """Text; the flag may be repeated."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags one instruction was given."""

    values: Mapping[str, tuple[str, ...]]

    @property
    def used(self) -> tuple[str, ...]:
        """The names that were given, sorted."""
        return tuple(sorted(self.values))

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a text flag."""
        return self.values.get(name, (default,))[-1]

    def switch(self, name: str, *, default: bool = False) -> bool:
        """Return the state of a switch."""
        return self.values[name][-1] == "true" if name in self.values else default

    def list(self, name: str) -> tuple[str, ...]:
        """Return every value of a list flag, in order."""
        return self.values.get(name, ())


def parse_flags(given: Sequence[str], declared: Mapping[str, FlagKind]) -> Flags:
    """Check ``given`` against the flags an instruction declares.

    Raises:
        DockerfileError: A flag is unknown, given twice, lacks its value or is no boolean.
    """
    values: dict[str, tuple[str, ...]] = {}
    for text in given:
        if not text.startswith("--"):
            raise DockerfileError(f"arg should start with -- : {text}")
        if text == "--":
            break
        name, separator, value = text[2:].partition("=")
        kind = declared.get(name)
        if kind is None:
            raise DockerfileError(f"unknown flag: --{name}{suggestion(name, declared)}")
        if name in values and kind is not FlagKind.LIST:
            raise DockerfileError(f"duplicate flag specified: {name}")
        if kind is FlagKind.SWITCH:
            value = _switch_value(name, value.lower() if separator else "true")
        elif not separator:
            raise DockerfileError(f"missing a value on flag: {name}")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def _switch_value(name: str, value: str) -> str:
    if value not in ("true", "false"):
        raise DockerfileError(f"expecting boolean value for flag {name}, not: {value}")
    return value
