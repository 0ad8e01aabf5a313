"""Parsing the arguments of `kedge-runtime`, in the grammar of runc and crun.

``--flag``, ``--flag=value``, ``--flag value``, ``-f value``; options stop at the first argument
that is none, or at ``--``. `argparse` is not used: it costs more than creating a container.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kedge.runtime.journal import Invocation


class Flag(NamedTuple):
    """An option a command knows."""

    takes_value: bool = False
    repeats: bool = False
    alias_of: str = ""


VALUE = Flag(takes_value=True)
SWITCH = Flag()
LIST = Flag(takes_value=True, repeats=True)


def alias(name: str) -> Flag:
    """Return another spelling of the flag ``name``."""
    return Flag(alias_of=name)


class Parsed:
    """The options that were given, and the arguments after them."""

    __slots__ = ("_values", "arguments")

    def __init__(self, values: dict[str, list[str]], arguments: list[str]) -> None:
        """Keep what `parse_options` found."""
        self._values = values
        self.arguments = arguments

    def switch(self, name: str) -> bool:
        """Tell whether a switch is on."""
        return self._values.get(name, ["false"])[-1] == "true"

    def value(self, name: str, default: str = "") -> str:
        """Return the last value given."""
        return self._values.get(name, [default])[-1]

    def values(self, name: str) -> list[str]:
        """Return every value given."""
        return self._values.get(name, [])

    def one_argument(self, what: str) -> str:
        """Return the only argument, which is a ``what``."""
        if len(self.arguments) != 1:
            raise InvalidParameterError(f"exactly one {what} is needed")
        return self.arguments[0]

    def number(self, name: str) -> int:
        """Return a value that must be a number, 0 when absent."""
        text = self.value(name, "0")
        if not text.isdecimal():
            raise InvalidParameterError(f"--{name} must be a number, not {text!r}")
        return int(text)


class Command(NamedTuple):
    """A command: what it does, its options, its help."""

    run: Callable[[Invocation, Parsed], int]
    flags: Mapping[str, Flag]
    failure_code: int = 1


def parse_options(arguments: Sequence[str], flags: Mapping[str, Flag]) -> Parsed:
    """Split ``arguments`` into the options in ``flags`` (names without dashes) and the rest.

    Raises:
        InvalidParameterError: An unknown option, or one without its value.
    """
    values: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        flag = flags.get(name)
        if flag is not None and flag.alias_of:
            name = flag.alias_of
            flag = flags.get(name)
        if flag is None:
            raise InvalidParameterError(f"unknown option {word}")
        if not flag.takes_value:
            value = value if equals else "true"
            if value not in ("true", "false"):
                raise InvalidParameterError(f"--{name} is true or false, not {value!r}")
        elif not equals:
            if not rest:
                raise InvalidParameterError(f"option {word} needs a value")
            value = rest.pop(0)
        values.setdefault(name, []).append(value)
    return Parsed(values, rest)
