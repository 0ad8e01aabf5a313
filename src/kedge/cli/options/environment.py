"""``-e``, ``--env-file``, ``-l`` and ``--label-file``. Pure but for `read_key_values`."""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final, TypeAlias


_LINE_MAX: Final = 65536
_BLANK: Final = " \t"

Lookup: TypeAlias = "Callable[[str], str | None]"


def parse_env(text: str, lookup: Lookup) -> str:
    """Return one ``-e`` value, with the client's value where only a name is given and it is set.

    Raises:
        InvalidParameterError: It has no name.
    """
    name, equals, _ = text.partition("=")
    if not name:
        raise InvalidParameterError(f"invalid environment variable: {text}")
    found = None if equals else lookup(name)
    return text if found is None else f"{name}={found}"


def check_env(text: str) -> None:
    """Refuse a value without a name.

    Raises:
        InvalidParameterError: It has none.
    """
    parse_env(text, lambda _: None)


def parse_key_values(text: str, lookup: Lookup | None) -> list[str]:
    """Return the ``KEY=value`` lines of a file.

    Args:
        text: Its content.
        lookup: Value of a name that stands alone (None leaves it out); without a lookup such
            a name stays as it is.

    Raises:
        InvalidParameterError: A name has blanks or is missing, or a line is too long.
    """
    found: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if len(line) >= _LINE_MAX:
            raise InvalidParameterError("bufio.Scanner: token too long")
        stripped = line.rstrip("\r").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, _ = stripped.partition("=")
        if not name:
            raise InvalidParameterError(f"no variable name on line '{stripped}'")
        if any(blank in name for blank in _BLANK):
            raise InvalidParameterError(f"variable '{name}' contains whitespaces")
        if equals or lookup is None:
            found.append(stripped)
        elif (value := lookup(name)) is not None:
            found.append(f"{name}={value}")
    return found


def read_key_values(
    files: Iterable[str], overrides: Iterable[str], lookup: Lookup | None
) -> list[str]:
    """Return the lines of all ``files`` and then ``overrides``.

    Raises:
        InvalidParameterError: A file cannot be read or is malformed; it is named.
    """
    found: list[str] = []
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise InvalidParameterError(f"open {path}: {(error.strerror or '').lower()}") from None
        except UnicodeDecodeError:
            raise InvalidParameterError(f"{path}: is no UTF-8 text") from None
        try:
            found += parse_key_values(text, lookup)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{path}: {error}") from None
    return found + list(overrides)


def check_label(text: str) -> None:
    """Refuse a label without a name, or with blanks in it.

    Raises:
        InvalidParameterError: It has none.
    """
    name = text.partition("=")[0]
    if not name.strip():
        raise InvalidParameterError(f"invalid label '{text}': empty name")
    if any(blank in name.lstrip() for blank in _BLANK):
        raise InvalidParameterError(f"label '{name}' contains whitespaces")


def to_map(pairs: Iterable[str]) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping; a name alone is empty."""
    return {name: content for name, _, content in (pair.partition("=") for pair in pairs)}
