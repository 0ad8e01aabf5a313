"""Variables in values: ``$NAME``, ``${NAME:-default}`` and the other operators. Pure.

The grammar is that of the Compose Specification with ``+`` and ``:+``. ``$$`` is a dollar sign, a
dollar sign before anything else stands for itself, and ``${`` must be well formed. What stands
after an operator may hold variables again.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json

Warn = Callable[[str], None]

_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR: Final = re.compile(r":?[-+?]")
_DEPTH_MAX: Final = 50


class InvalidTemplateError(InvalidParameterError):
    """``${`` without a well-formed rest."""


class MissingVariableError(InvalidParameterError):
    """A variable the text requires has no value."""


class Variable(NamedTuple):
    """A variable as a text uses it."""

    name: str
    default: str = ""
    presence: str = ""
    required: bool = False


class _Piece(NamedTuple):
    name: str
    operator: str
    argument: str
    literal: str


def substitute(text: str, env: Mapping[str, str], warn: Warn | None = None) -> str:
    """Return ``text`` with its variables replaced; ``warn`` hears of those that are not set.

    Raises:
        InvalidTemplateError: The text is malformed.
        MissingVariableError: A required variable has no value.
    """
    return _substitute(text, env, warn, 0) if "$" in text else text


def _substitute(text: str, env: Mapping[str, str], warn: Warn | None, depth: int) -> str:
    if depth > _DEPTH_MAX:
        raise InvalidTemplateError("Invalid template: variables are nested too deeply")
    return "".join(
        _value(piece, env, warn, depth) if piece.name else piece.literal for piece in _pieces(text)
    )


def _value(piece: _Piece, env: Mapping[str, str], warn: Warn | None, depth: int) -> str:
    name, operator, argument, _ = piece
    value = env.get(name)
    counts = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("+"):
        return _substitute(argument, env, warn, depth + 1) if counts else value or ""
    if operator and not counts:
        text = _substitute(argument, env, warn, depth + 1)
        if operator.endswith("?"):
            reason = f": {text}" if text else ""
            raise MissingVariableError(f"required variable {name} is missing a value{reason}")
        return text
    if value is None:
        if warn is not None:
            warn(f'The "{name}" variable is not set. Defaulting to a blank string.')
        return ""
    return value


def _pieces(text: str) -> Iterator[_Piece]:
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        if dollar > position:
            yield _Piece("", "", "", text[position:dollar])
        follower = text[dollar + 1 : dollar + 2]
        if follower == "$":
            yield _Piece("", "", "", "$")
            position = dollar + 2
        elif follower == "{":
            end = _closing_brace(text, dollar + 1)
            yield _braced(text, text[dollar + 2 : end])
            position = end + 1
        elif name := _NAME.match(text, dollar + 1):
            yield _Piece(name[0], "", "", "")
            position = name.end()
        else:
            yield _Piece("", "", "", "$")
            position = dollar + 1
    yield _Piece("", "", "", text[position:])


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for index in range(opening, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if not depth:
                return index
    # A default may hold a lone "{", as in ${X:-{}.
    last = text.rfind("}", opening)
    if last < 0:
        raise InvalidTemplateError(f'Invalid template: "{text}"')
    return last


def _braced(text: str, inside: str) -> _Piece:
    name, operator, argument = split_braced(inside)
    if not name:
        raise InvalidTemplateError(f'Invalid template: "{text}"')
    return _Piece(name, operator, argument, "")


def split_braced(inside: str) -> tuple[str, str, str]:
    """Return name, operator and what follows it of the text between braces; all empty if malformed.

    The first operator counts: ``A?b:-c`` requires ``A``.
    """
    name = _NAME.match(inside)
    if name is None:
        return "", "", ""
    if name.end() == len(inside):
        return name[0], "", ""
    operator = _OPERATOR.match(inside, name.end())
    if operator is None:
        return "", "", ""
    return name[0], operator[0], inside[operator.end() :]


def variables_in(value: Json) -> dict[str, Variable]:
    """Return the variables that the texts of a document name, nested ones included."""
    found: dict[str, Variable] = {}
    pending: list[Json] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            for name, operator, argument, _ in _pieces(item):
                if name:
                    kind = operator[-1:]
                    found[name] = Variable(
                        name,
                        default=argument if kind == "-" else "",
                        presence=argument if kind == "+" else "",
                        required=kind == "?",
                    )
                    pending.append(argument)
    return found
