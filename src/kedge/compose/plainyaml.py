"""YAML texts as documents; the plain part that most files keep to without loading a parser. Pure.

Loading PyYAML takes a fifth of a short command. This reader knows block mappings and sequences,
scalars on one line, quoted ones without escapes, and flow collections of such scalars on one line;
no tabs, anchors, tags, block scalars, several documents. It either returns exactly what
`kedge.compose.yamlfile` does or declines: whatever it does not know for certain, every fault among
it, is left to the real parser and its messages.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from kedge.compose.failures import Path
from kedge.compose.yamlvalues import Document, Mark, resolve_plain
from kedge.lib.jsontypes import Json, JsonObject

_LINES_MAX: Final = 2000
_DEPTH_MAX: Final = 30
# Everything but the printable part of ASCII, and a tab: left to the real parser.
_ODD: Final = re.compile(r"[^\n -~]")
_KEY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_./-]{0,100}):(?= |\Z)")
_COMMENT: Final = re.compile(r" +(?:#.*)?\Z")
_QUOTED: Final = re.compile(r""""[^"\\]*"|'[^']*'""")
# No indicator begins it, and nothing in it could end it or be a key. `:` stands only within words.
_PLAIN: Final = re.compile(r"(?!- |-\Z)[^ \[\]{},#&*!|>'\"%@`?:](?:[^ :]|:(?=[^ ])| (?=[^# :]))*")
_IN_FLOW: Final = re.compile(r"[A-Za-z0-9_./$](?:[A-Za-z0-9_./$=+-]|:(?=[A-Za-z0-9_./]))*")
_FLOW_KEY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,100}): ")


class _DeclinedError(Exception):
    """The text may mean something this reader does not know."""


class _Line(NamedTuple):
    number: int
    indent: int
    text: str
    """Without indentation, and without blanks at the end."""


def parse_documents(text: str, file: str) -> list[Document]:
    """Return the documents of a text.

    Raises:
        ComposeFileError: With file, line and column.
    """
    plain = try_parse_plain(text, file)
    if plain is not None:
        return plain
    from kedge.compose import yamlfile  # noqa: PLC0415 - see above

    return yamlfile.parse_documents(text, file)


def try_parse_plain(text: str, file: str) -> list[Document] | None:
    """Return the one document of a plain text, None where only a YAML parser can tell."""
    if _ODD.search(text) or text.count("\n") > _LINES_MAX:
        return None
    lines = [
        _Line(number, len(line) - len(line.lstrip(" ")), stripped)
        for number, line in enumerate(text.split("\n"), 1)
        if (stripped := line.strip(" ")) and not stripped.startswith("#")
    ]
    try:
        return [_Reader(lines, file).document()]
    except _DeclinedError:
        return None


class _Reader:
    __slots__ = ("_at", "_file", "_lines", "_marks")

    def __init__(self, lines: Sequence[_Line], file: str) -> None:
        self._lines = lines
        self._file = file
        self._at = 0
        self._marks: dict[Path, Mark] = {}

    def document(self) -> Document:
        first = self._next()
        if first is None or first.indent or not _KEY.match(first.text):
            raise _DeclinedError
        self._mark((), first.number, 0)
        data = self._mapping(0, ())
        if self._next() is not None:
            raise _DeclinedError
        return Document(data, self._marks, [])

    def _next(self) -> _Line | None:
        return self._lines[self._at] if self._at < len(self._lines) else None

    def _mark(self, path: Path, line: int, column: int) -> None:
        self._marks[path] = Mark(self._file, line, column + 1)

    def _mapping(self, indent: int, path: Path) -> JsonObject:
        found: JsonObject = {}
        while (line := self._next()) is not None and line.indent == indent:
            match = _KEY.match(line.text)
            if match is None:
                break
            self._entry(found, line, match, path)
        return found

    def _entry(self, found: JsonObject, line: _Line, match: "re.Match[str]", path: Path) -> None:
        key = match[1]
        if key in found or not isinstance(resolve_plain(key), str) or len(path) > _DEPTH_MAX:
            raise _DeclinedError
        self._at += 1
        place = (*path, key)
        rest = line.text[match.end() :]
        start = line.indent + match.end()
        if _COMMENT.fullmatch(rest) or not rest:
            found[key] = self._nested(line.indent, place)
        else:
            blanks = len(rest) - len(rest.lstrip(" "))
            found[key] = self._value(rest[blanks:], line.number, start + blanks, place)
            self._ends(line.indent)
        # A value's place is its key's, as in the whole parser.
        self._mark(place, line.number, line.indent)

    def _ends(self, indent: int) -> None:
        """Decline where a value may go on: a deeper line continues it."""
        following = self._next()
        if following is not None and following.indent > indent:
            raise _DeclinedError

    def _nested(self, indent: int, path: Path) -> Json:
        line = self._next()
        if line is None or line.indent < indent:
            return None
        is_item = line.text.startswith("- ")
        if line.indent == indent and not is_item:
            return None
        if is_item:
            return self._sequence(line.indent, path)
        if not _KEY.match(line.text):
            raise _DeclinedError
        value = self._mapping(line.indent, path)
        self._ends(indent)
        return value

    def _sequence(self, indent: int, path: Path) -> list[Json]:
        found: list[Json] = []
        while (line := self._next()) is not None and line.indent == indent:
            if not line.text.startswith("- "):
                break
            text = line.text[2:].lstrip(" ")
            inner = indent + len(line.text) - len(text)
            place = (*path, len(found))
            self._mark(place, line.number, inner)
            if _KEY.match(text):
                # The mapping begins on the dash's line: the same line again, deeper.
                self._lines = [
                    *self._lines[: self._at],
                    _Line(line.number, inner, text),
                    *self._lines[self._at + 1 :],
                ]
                found.append(self._mapping(inner, place))
            else:
                self._at += 1
                found.append(self._value(text, line.number, inner, place))
            self._ends(indent)
        return found

    def _value(self, text: str, line: int, column: int, path: Path) -> Json:
        quoted = _QUOTED.match(text)
        if quoted:
            self._expect_end(text[quoted.end() :])
            return quoted[0][1:-1]
        if text[0] in "[{":
            value, end = self._flow(text, Mark(self._file, line, column + 1), path)
            self._expect_end(text[end:])
            return value
        plain = _PLAIN.match(text)
        if plain is None:
            raise _DeclinedError
        self._expect_end(text[plain.end() :])
        return resolve_plain(plain[0])

    def _flow(self, text: str, begin: Mark, path: Path) -> tuple[Json, int]:
        """Return a collection of scalars on one line, and where it ends in ``text``."""
        closing = "]" if text[0] == "[" else "}"
        entries: JsonObject = {}
        found: list[Json] = []
        at = _skip(text, 1)
        while text[at : at + 1] != closing or found or entries:
            place: Path = (*path, len(found))
            start = at
            if closing == "}":
                key = _FLOW_KEY.match(text, at)
                if key is None or key[1] in entries or not isinstance(resolve_plain(key[1]), str):
                    raise _DeclinedError
                place, at = (*path, key[1]), _skip(text, key.end())
            value, at = self._flow_scalar(text, at, may_lack=closing == "}")
            if closing == "}":
                entries[str(place[-1])] = value
            else:
                found.append(value)
            self._marks[place] = begin._replace(column=begin.column + start)
            at = _skip(text, at)
            if text[at : at + 1] != ",":
                break
            at = _skip(text, at + 1)
        if text[at : at + 1] != closing:
            raise _DeclinedError
        return (entries if closing == "}" else found), at + 1

    def _flow_scalar(self, text: str, at: int, *, may_lack: bool) -> tuple[Json, int]:
        quoted = _QUOTED.match(text, at)
        if quoted:
            return quoted[0][1:-1], quoted.end()
        plain = _IN_FLOW.match(text, at)
        if plain:
            return resolve_plain(plain[0]), plain.end()
        if may_lack and text[at : at + 1] in {",", "}"}:
            return None, at
        raise _DeclinedError

    def _expect_end(self, rest: str) -> None:
        if rest and not _COMMENT.fullmatch(rest):
            raise _DeclinedError


def _skip(text: str, at: int) -> int:
    """Return where the next character stands that is no blank."""
    while text[at : at + 1] == " ":
        at += 1
    return at
