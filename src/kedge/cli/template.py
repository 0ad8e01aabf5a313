"""``--format``: the part of Go's template language that people use with Docker's output. Pure.

``{{.Field.Sub}}``, ``{{json .}}``, ``{{range .X}}…{{else}}…{{end}}``, ``{{if}}``, ``{{with}}``,
``{{index .Map "key"}}``, ``{{len}}``, ``{{lower}}``, ``{{upper}}``, ``{{title}}``, ``{{join}}``,
``{{split}}``, ``{{truncate}}``, ``{{pad}}``, ``{{slice}}``, ``{{println}}``, ``{{printf}}``,
``eq ne lt gt and or not``, pipes, ``{{else if}}``, ``{{$x := …}}``, and ``{{-`` trimming.
Anything else is refused by name.
"""

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from kedge.client.http import percent_encode
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json

_ACTION: Final = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<variable>\$\w*(?:\.\w+)*)|(?P<field>\.(?:\w+(?:\.\w+)*)?)"""
    r"""|(?P<name>\w+)|(?P<mark>:=|[()|,]))"""
)


class Method(dict[str, Json]):
    """Values a row has behind a method, as in ``{{.Label "key"}}``; no part of its JSON."""


class _Text(NamedTuple):
    text: str


class _Output(NamedTuple):
    words: str


class _Block(NamedTuple):
    kind: str
    words: str
    body: "list[_Node]"
    other: "list[_Node]"


_Node = _Text | _Output | _Block


class Template:
    """A parsed template; render it with any number of documents."""

    def __init__(self, text: str) -> None:
        r"""Parse ``text``; ``\n`` and ``\t`` are escapes, as in Docker's ``--format``.

        Raises:
            InvalidParameterError: A block is not closed.
        """
        self._nodes = _parse(text.replace("\\t", "\t").replace("\\n", "\n"))

    def render(self, document: Json) -> str:
        """Return the text for ``document``.

        Raises:
            InvalidParameterError: A field or function that does not exist.
        """
        return _render(self._nodes, document, {"$": document})


def _parse(text: str) -> list[_Node]:
    builder = _Builder()
    position = 0
    trim = False
    if "{{" in _ACTION.sub("", text):
        raise InvalidParameterError("failed to parse template: template: :1: unclosed action")
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        before = before.lstrip() if trim else before
        builder.text(before.rstrip() if match[1] else before)
        builder.action(match[2])
        position, trim = match.end(), bool(match[3])
    builder.text(text[position:].lstrip() if trim else text[position:])
    return builder.finish()


class _Builder:
    """The nodes read so far, and the blocks that are still open."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._open: list[tuple[_Block, list[_Node]]] = []
        self._chained: list[_Block] = []

    def text(self, text: str) -> None:
        if text:
            self._nodes.append(_Text(text))

    def action(self, words: str) -> None:
        keyword, _, rest = words.partition(" ")
        if keyword in {"range", "if", "with"}:
            block = _Block(keyword, rest, [], [])
            self._nodes.append(block)
            self._open.append((block, self._nodes))
            self._nodes = block.body
        elif keyword in {"else", "end"}:
            if not self._open:
                raise InvalidParameterError(f"template: unexpected {{{{{keyword}}}}}")
            if keyword == "else":
                self._nodes = self._open[-1][0].other
                # ``{{else if x}}`` is a block in the other branch that shares the one ``{{end}}``.
                if rest.strip():
                    self.action(rest.strip())
                    self._chained.append(self._open[-1][0])
                return
            block, self._nodes = self._open.pop()
            while self._chained and self._chained[-1] is block:
                self._chained.pop()
                block, self._nodes = self._open.pop()
        elif not words.startswith("/*"):
            self._nodes.append(_Output(words))

    def finish(self) -> list[_Node]:
        if self._open:
            raise InvalidParameterError(f"template: unclosed {{{{{self._open[-1][0].kind}}}}}")
        return self._nodes


def _render(nodes: list[_Node], dot: Json, variables: dict[str, Json]) -> str:
    parts: list[str] = []
    for node in nodes:
        match node:
            case _Text(text=text):
                parts.append(text)
            case _Output(words=words):
                parts.append(_output(words, dot, variables))
            case _Block():
                parts.append(_block(node, dot, variables))
    return "".join(parts)


def _output(words: str, dot: Json, variables: dict[str, Json]) -> str:
    name, separator, expression = words.partition(":=")
    if separator and name.strip().startswith("$"):
        variables[name.strip()] = _evaluate(expression, dot, variables)
        return ""
    return _show(_evaluate(words, dot, variables))


def _block(node: _Block, dot: Json, variables: dict[str, Json]) -> str:
    names, separator, expression = node.words.rpartition(":=")
    value = _evaluate(expression, dot, variables)
    if node.kind != "range":
        inner = value if node.kind == "with" else dot
        return _render(node.body if _truth(value) else node.other, inner, dict(variables))
    pairs: list[tuple[Json, Json]]
    if isinstance(value, Mapping):
        pairs = [(key, value[key]) for key in sorted(value)]
    else:
        pairs = list(enumerate(value)) if isinstance(value, list) else []
    if not pairs:
        return _render(node.other, dot, dict(variables))
    targets = [name.strip() for name in names.split(",")] if separator else []
    parts: list[str] = []
    for key, item in pairs:
        scope = dict(variables)
        scope.update(zip(targets, (key, item) if len(targets) == 2 else (item,), strict=False))
        parts.append(_render(node.body, item, scope))
    return "".join(parts)


class _Parser:
    """One expression, by recursive descent over its tokens."""

    def __init__(self, text: str, dot: Json, variables: dict[str, Json]) -> None:
        self._tokens = _tokenize(text)
        self._dot = dot
        self._variables = variables

    def pipeline(self) -> Json:
        value = self._command([])
        while self._tokens and self._tokens[0] == ("mark", "|"):
            self._tokens.pop(0)
            value = self._command([value])
        return value

    def _command(self, piped: list[Json]) -> Json:
        if not self._tokens:
            raise InvalidParameterError("template: missing value for command")
        kind, text = self._tokens[0]
        if kind == "name" and text not in {"true", "false", "nil"}:
            self._tokens.pop(0)
            arguments: list[Json] = []
            while self._tokens and self._tokens[0] not in {("mark", "|"), ("mark", ")")}:
                arguments.append(self._operand())
            return _call(text, [*arguments, *piped])
        value = self._operand()
        if kind == "field" and self._tokens and self._tokens[0][0] == "string":
            # ``.Label "key"`` is a method of Docker's rows.
            found = value.get(_show(self._operand())) if isinstance(value, dict) else None
            return "" if found is None else found
        return value

    def _operand(self) -> Json:
        kind, text = self._tokens.pop(0)
        match kind:
            case "string":
                return text[1:-1] if text[0] == "`" else str(json.loads(text))
            case "number":
                return float(text) if "." in text else int(text)
            case "variable":
                name, _, rest = text.partition(".")
                return _walk(self._variables.get(name), rest)
            case "field":
                return _walk(self._dot, text[1:])
            case "name":
                return {"true": True, "false": False}.get(text)
            case _ if text == "(":
                value = self.pipeline()
                if not self._tokens or self._tokens.pop(0) != ("mark", ")"):
                    raise InvalidParameterError("template: unclosed parenthesis")
                kind_next = self._tokens[0] if self._tokens else ("", "")
                if kind_next[0] == "field" and kind_next[1] != ".":
                    self._tokens.pop(0)
                    return _walk(value, kind_next[1][1:])
                return value
            case _:
                raise InvalidParameterError(f"template: unexpected {text!r}")


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidParameterError(f"template: cannot read {text[position:]!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def _evaluate(text: str, dot: Json, variables: dict[str, Json]) -> Json:
    return _Parser(text, dot, variables).pipeline()


def _walk(value: Json, path: str) -> Json:
    for wanted in path.split(".") if path else ():
        name = wanted
        if not isinstance(value, dict):
            raise InvalidParameterError(
                f"template: can't evaluate field {name}: its owner is no object"
            )
        if name not in value:
            known = {key.lower(): key for key in value}
            if name.lower() not in known:
                raise InvalidParameterError(
                    f"template: can't evaluate field {name}: map has no entry for key {name!r}"
                )
            name = known[name.lower()]
        value = value[name]
    return value


def _call(name: str, arguments: list[Json]) -> Json:  # noqa: C901 - one case per function
    match name, arguments:
        case "json", [value]:
            if isinstance(value, dict):
                value = {key: item for key, item in value.items() if not isinstance(item, Method)}
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        case "len", [list() | dict() | str() as value]:
            return len(value)
        case "lower", [value]:
            return _show(value).lower()
        case "upper", [value]:
            return _show(value).upper()
        case "title", [value]:
            return re.sub(r"\b\w", lambda letter: letter[0].upper(), _show(value))
        case "pad", [value, int() as before, int() as after]:
            return f"{' ' * before}{_show(value)}{' ' * after}" if value else ""
        case "slice", [str() | list() as value, int() as first]:
            return value[first:]
        case "slice", [str() | list() as value, int() as first, int() as last]:
            return value[first:last]
        case "urlquery", [value]:
            return percent_encode(_show(value)).replace("%20", "+")
        case "print", values:
            return "".join(_show(value) for value in values)
        case "println", values:
            return " ".join(_show(value) for value in values) + "\n"
        case "join", [list() as values, separator]:
            return _show(separator).join(_show(value) for value in values)
        case "split", [value, separator]:
            return list[Json](_show(value).split(_show(separator)))
        case "truncate", [value, int() as width]:
            return _show(value)[:width]
        case "printf", [template, *values]:
            return _printf(_show(template), values)
        case "index", [value, *keys]:
            return _index(value, keys)
        case "not", [value]:
            return not _truth(value)
        case "and", values if values:
            return next((value for value in values if not _truth(value)), values[-1])
        case "or", values if values:
            return next((value for value in values if _truth(value)), values[-1])
        case "eq", [value, *others]:
            return any(value == other for other in others)
        case "ne", [left, right]:
            return left != right
        case (("lt" | "le" | "gt" | "ge"), [int() | float() as left, int() | float() as right]):
            return {"lt": left < right, "le": left <= right, "gt": left > right}.get(
                name, left >= right
            )
        case _:
            raise InvalidParameterError(
                f'template: function "{name}" not defined for {len(arguments)} arguments'
            )


def _index(value: Json, keys: list[Json]) -> Json:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(_show(key))
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        elif isinstance(value, list):
            raise InvalidParameterError(f"template: index out of range: {_show(key)}")
        else:
            raise InvalidParameterError("template: index of a value that is neither map nor list")
    return value


def _printf(template: str, values: list[Json]) -> str:
    plain = re.sub(r"%([-+ 0]*\d*(?:\.\d+)?)v", r"%\1s", template)
    plain = re.sub(r"%([-+ 0]*\d*)q", r'"%\1s"', plain)
    numeric = re.findall(r"%[-+ 0]*\d*(?:\.\d+)?([sdfx%])", plain)
    shown = [
        value if kind in "dfx" and isinstance(value, (int, float)) else _show(value)
        for kind, value in zip([kind for kind in numeric if kind != "%"], values, strict=False)
    ]
    try:
        return plain % tuple(shown)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(f"template: printf: {error}") from None


def _truth(value: Json) -> bool:
    return bool(value)


def _show(value: Json) -> str:
    """Return a value as Go prints it."""
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case list():
            return f"[{' '.join(_show(item) for item in value)}]"
        case dict():
            inner = " ".join(f"{key}:{_show(value[key])}" for key in sorted(value))
            return f"map[{inner}]"
        case _:
            return str(value)
