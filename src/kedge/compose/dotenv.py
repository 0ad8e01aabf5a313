"""``.env`` files: the grammar of Compose's own parser. Pure.

``NAME=value``, ``export NAME=value``, ``NAME: value`` and ``NAME`` alone, which takes the value
from the surrounding environment. Single quotes are literal, double quotes know escapes and
variables, both may span lines; without quotes variables are replaced and `` #`` begins a comment.
"""

import re
from collections.abc import Mapping
from typing import Final

from kedge.compose.template import InvalidTemplateError, MissingVariableError, substitute
from kedge.errdefs import InvalidParameterError

# Blank in the sense of a line: line feeds end a statement.
_BLANK: Final = "\t\v\f\r \x85\xa0"
_EXPORT: Final = re.compile(r"export\s+")
_ESCAPE: Final = re.compile(r'\\([abcfnrtv$"\\]|0[0-9]{0,3})')
_ESCAPED: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    '"': '"',
    "\\": "\\",
    # Read again by the variables' grammar, where it is one dollar sign.
    "$": "$$",
}


def parse_dotenv(
    text: str, env: Mapping[str, str], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables of a file; ``env`` wins in expansions, ``known`` are earlier files'.

    Raises:
        InvalidParameterError: The text is malformed; it names the line.
    """
    return _Reader(text.removeprefix("\ufeff").replace("\r\n", "\n"), env, dict(known or {})).read()


def parse_raw_env(text: str) -> dict[str, str | None]:
    """Return the variables of a file with ``format: raw``: no quotes, no variables, no export."""
    found: dict[str, str | None] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        name, separator, value = line.lstrip().partition("=")
        if not name or name.startswith("#"):
            continue
        if any(char.isspace() for char in name):
            raise InvalidParameterError(f"line {number}: variable '{name}' contains whitespaces")
        found[name] = value if separator else None
    return found


def expand(text: str, known: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Return ``text`` with its variables; the environment wins over the file's own."""
    return substitute(text, {**known, **env})


def statement_start(text: str, position: int = 0) -> int:
    """Return where the next statement begins, after blanks and comments; the length at the end."""
    while position < len(text):
        char = text[position]
        if char == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif char.isspace():
            position += 1
        else:
            return position
    return len(text)


class _Reader:
    """One pass over one file."""

    __slots__ = ("_env", "_found", "_known", "_position", "_text")

    def __init__(self, text: str, env: Mapping[str, str], known: dict[str, str]) -> None:
        self._text = text
        self._env = env
        self._known = known
        self._found: dict[str, str] = {}
        self._position = 0

    def read(self) -> dict[str, str]:
        text = self._text
        while (start := statement_start(text, self._position)) < len(text):
            export = _EXPORT.match(text, start)
            self._position = export.end() if export else start
            name, has_value = self._name()
            if has_value:
                value = self._value()
                # Names that begin with a digit are no variables; they are passed over.
                if not name[:1].isdigit():
                    self._found[name] = value
            elif name in self._env:
                self._found[name] = self._env[name]
        return self._found

    def _fault(self, message: str, position: int) -> InvalidParameterError:
        return InvalidParameterError(
            f"line {self._text.count(chr(10), 0, position) + 1}: {message}"
        )

    def _name(self) -> tuple[str, bool]:
        text, start = self._text, self._position
        index = start
        while index < len(text) and text[index] not in "=:\n":
            char = text[index]
            if (
                char not in _BLANK
                and char not in "_.-[]"
                and not (char.isalpha() or char.isnumeric())
            ):
                line = text[start:].partition("\n")[0]
                raise self._fault(f'unexpected character "{char}" in variable name "{line}"', index)
            index += 1
        has_value = index < len(text) and text[index] != "\n"
        name = text[start:index].rstrip()
        if " " in name:
            raise self._fault("key cannot contain a space", start)
        index = min(index + 1, len(text))
        while has_value and index < len(text) and text[index] in _BLANK:
            index += 1
        self._position = index
        return name, has_value

    def _value(self) -> str:
        text, start = self._text, self._position
        quote = text[start : start + 1]
        if quote not in {'"', "'"}:
            line, _, _ = text[start:].partition("\n")
            self._position = start + len(line) + 1
            return self._expand(line.partition(" #")[0].rstrip(), start)
        chars: list[str] = []
        index = start + 1
        while index < len(text) and text[index] != quote:
            if text[index] == "\\" and index + 1 < len(text):
                escaped = text[index + 1]
                chars.append(escaped if escaped == quote else "\\" + escaped)
                index += 1
            else:
                chars.append(text[index])
            index += 1
        if index >= len(text):
            line = text[start:].partition("\n")[0]
            raise self._fault(f"unterminated quoted value {line}", start)
        self._position = index + 1
        value = "".join(chars)
        return self._expand(_ESCAPE.sub(_unescape, value), start) if quote == '"' else value

    def _expand(self, value: str, position: int) -> str:
        try:
            return expand(value, {**self._known, **self._found}, self._env)
        except (InvalidTemplateError, MissingVariableError) as error:
            raise self._fault(str(error), position) from None


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if escape.startswith("0"):
        digits = escape[1:]
        # Three octal digits up to 0377, as Go reads them; anything else stays as it is.
        if len(digits) == 3 and "8" not in digits and "9" not in digits and int(digits, 8) < 256:
            return chr(int(digits, 8))
        return match[0]
    return _ESCAPED.get(escape, match[0])
