"""Flags of a verb as plain data, and reading a command line with them. Pure.

The grammar is pflag's, which Docker uses: ``--name value``, ``--name=value``, ``-itd``, ``-p8080``,
``-e=A=b``, ``--rm=false``, ``--``. Where a verb runs a program, everything after its first word
is left alone. The same table makes the help and the tab completion.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final, TypeAlias


_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})

Check: TypeAlias = "Callable[[str], object]"


class UsageError(InvalidParameterError):
    """A command line that cannot be read; the text says which word and what to do."""

    exit_code = 125


class WordsError(UsageError):
    """No such verb, or too few or too many words; Docker's client ends with 1 here."""

    exit_code = 1


class HelpRequestedError(KedgeError):
    """``--help`` was given."""


class Flag(NamedTuple):
    """One flag; made by `switch`, `value` and `many`."""

    name: str
    help: str
    short: str
    metavar: str
    """What its value is called; empty for a switch."""
    repeats: bool
    default: str
    group: str
    check: Check | None
    """Refuses a bad value by raising a `KedgeError`."""
    complete: str
    """What completes its value: words with ``|`` between them, or a kind such as ``container``."""
    other_name: str = ""
    """Another name Docker has for it; not shown."""

    @property
    def shown(self) -> str:
        """The flag as messages name it: ``-e, --env``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def switch(name: str, text: str, *, short: str = "", default: bool = False) -> Flag:
    """Return a flag that is there or not."""
    return Flag(name, text, short, "", False, "true" if default else "", "", None, "")  # noqa: FBT003 - positional record


def value(
    name: str,
    metavar: str,
    text: str,
    *,
    short: str = "",
    default: str = "",
    check: Check | None = None,
    complete: str = "",
) -> Flag:
    """Return a flag with one value; the last one given counts."""
    return Flag(name, text, short, metavar, False, default, "", check, complete)  # noqa: FBT003 - positional record


def many(
    name: str,
    metavar: str,
    text: str,
    *,
    short: str = "",
    check: Check | None = None,
    complete: str = "",
    other_name: str = "",
) -> Flag:
    """Return a flag whose values add up."""
    return Flag(name, text, short, metavar, True, "", "", check, complete, other_name)  # noqa: FBT003 - positional record


def grouped(group: str, *flags: Flag) -> tuple[Flag, ...]:
    """Return ``flags`` under a heading of the help."""
    return tuple(flag._replace(group=group) for flag in flags)


HELP: Final = switch("help", "Show this help", short="h")


class Options:
    """What a command line said."""

    def __init__(
        self, flags: Mapping[str, Flag], values: Mapping[str, list[str]], words: Sequence[str]
    ) -> None:
        """Take values by flag name and the remaining words."""
        self._flags = flags
        self._values = values
        self.words = list(words)

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._values

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.text(name) in _TRUE

    def tristate(self, name: str) -> bool | None:
        """Return a switch, or None where it was not given."""
        return self.on(name) if self.given(name) else None

    def text(self, name: str) -> str:
        """Return a value, or its default."""
        found = self._values.get(name)
        return found[-1] if found else self._flags[name].default

    def texts(self, name: str) -> list[str]:
        """Return all values."""
        return list(self._values.get(name, ()))

    def integer(self, name: str) -> int:
        """Return a value that was checked by `integer`; 0 without one."""
        return int(self.text(name) or "0", 10)


def integer(text: str) -> int:
    """Return a whole number, for ``check``.

    Raises:
        InvalidParameterError: It is none; the text is Go's.
    """
    digits = text[1:] if text[:1] in {"-", "+"} else text
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidParameterError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def read_options(flags: Sequence[Flag], words: Sequence[str], *, interspersed: bool) -> Options:
    """Return the options on a command line.

    Args:
        flags: What is allowed, besides ``--help``.
        words: The command line after the verb.
        interspersed: Whether flags may follow the first word that is none.

    Raises:
        UsageError: A flag that does not exist, lacks its value or has a bad one.
        HelpRequestedError: ``--help`` or ``-h``.
    """
    by_name = {flag.name: flag for flag in (*flags, HELP)}
    by_long = by_name | {flag.other_name: flag for flag in flags if flag.other_name}
    # -h is --hostname for run and create.
    by_short = {flag.short: flag for flag in (HELP, *flags) if flag.short}
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    queue = list(reversed(words))
    while queue:
        word = queue.pop()
        if word == "--":
            rest.extend(reversed(queue))
            break
        if word.startswith("--"):
            _read_long(word, queue, by_long, values)
        elif word.startswith("-") and word != "-":
            _read_short(word, queue, by_short, values)
        else:
            rest.append(word)
            if not interspersed:
                rest.extend(reversed(queue))
                break
    if "help" in values:
        raise HelpRequestedError("help")
    return Options(by_name, values, rest)


def _read_long(
    word: str, queue: list[str], flags: Mapping[str, Flag], values: dict[str, list[str]]
) -> None:
    name, equals, text = word[2:].partition("=")
    flag = flags.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}{nearest(f'--{name}', [f'--{n}' for n in flags])}")
    if not equals and flag.metavar:
        if not queue:
            raise UsageError(f"flag needs an argument: --{name}")
        text = queue.pop()
    _store(flag, text if equals or flag.metavar else "true", values)


def _read_short(
    word: str, queue: list[str], flags: Mapping[str, Flag], values: dict[str, list[str]]
) -> None:
    position = 1
    while position < len(word):
        letter = word[position]
        flag = flags.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{word[position:]}")
        rest = word[position + 1 :]
        if rest.startswith("="):
            _store(flag, rest[1:], values)
            return
        if flag.metavar:
            if not rest and not queue:
                raise UsageError(f"flag needs an argument: '{letter}' in -{word[position:]}")
            _store(flag, rest or queue.pop(), values)
            return
        _store(flag, "true", values)
        position += 1


def _store(flag: Flag, text: str, values: dict[str, list[str]]) -> None:
    try:
        if not flag.metavar and text not in _TRUE | _FALSE:
            raise InvalidParameterError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
        if flag.check is not None:
            flag.check(text)
    except KedgeError as error:
        raise UsageError(f'invalid argument "{text}" for "{flag.shown}" flag: {error}') from None
    values.setdefault(flag.name, []).append(text)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `` (did you mean x?)`` for a mistyped name, or nothing."""
    import difflib  # noqa: PLC0415 - only on a mistake

    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""
