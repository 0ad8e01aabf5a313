"""YAML texts as data, with the line and column of every node.

YAML 1.2's core rules: ``on`` and ``22:22`` are text, duplicate keys and keys that are no text are
refused. Anchors, merge keys, ``!reset`` and ``!override`` are resolved here. The parser's events
are read, not its nodes, so that depth and the size of what aliases expand to stay bounded.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from kedge.compose.failures import ComposeFileError, Path, dotted, one_line
from kedge.compose.yamlvalues import Document, Mark, clone, resolve_plain
from kedge.lib.jsontypes import Json, JsonObject

_DEPTH_MAX: Final = 100
_NODES_MAX: Final = 100_000
_CORE: Final = "tag:yaml.org,2002:"


class _Node(NamedTuple):
    data: Json
    size: int


class _Gone:
    """What a ``!reset`` value becomes until its parent drops it."""


_GONE: Final = cast("Json", _Gone())


def parse_documents(text: str, file: str) -> list[Document]:
    """Return the documents of a text.

    Raises:
        ComposeFileError: With file, line and column.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return list(_Builder(yaml.parse(text, Loader=loader), file).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        # libyaml's words for the same fault differ from those people search for.
        problem = (error.problem or "malformed YAML").replace(
            "found character that cannot start any token",
            "found a tab character that violates indentation"
            if _has_tab(text, line)
            else "found character that cannot start any token",
        )
        raise ComposeFileError(one_line(f"{file}:{line}:{column}: {problem}")) from None
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        raise ComposeFileError(f"{file}:1:1: {one_line(str(error))}") from None


def _has_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line <= len(lines) and lines[line - 1].lstrip(" ").startswith("\t")


class _Builder:
    """Builds the documents of one stream of events."""

    __slots__ = ("_anchors", "_cleared", "_events", "_expanded", "_file", "_marks", "_open")

    def __init__(self, events: Iterator[Event], file: str) -> None:
        self._events = events
        self._file = file
        self._reset()

    def _reset(self) -> None:
        self._anchors: dict[str, _Node] = {}
        self._open: set[str] = set()
        self._marks: dict[Path, Mark] = {}
        self._cleared: list[Path] = []
        self._expanded = 0

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._reset()
                node = self._node(next(self._events), ())
                data = None if node.data is _GONE else node.data
                yield Document(data, self._marks, self._cleared)
            elif isinstance(event, DocumentEndEvent):
                continue

    def _fault(self, event: Event, message: str) -> ComposeFileError:
        return ComposeFileError(f"{self._mark(event)}: {one_line(message)}")

    def _mark(self, event: Event) -> Mark:
        start = event.start_mark
        # Only events made by hand have no place; the parser's always do.
        return (
            Mark(self._file, start.line + 1, start.column + 1) if start else Mark(self._file, 1, 1)
        )

    def _node(self, event: Event, path: Path) -> _Node:
        self._marks[path] = self._mark(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if len(path) > _DEPTH_MAX:
            raise self._fault(event, "nested too deeply")
        anchor = cast("str | None", getattr(event, "anchor", None))
        if anchor:
            self._open.add(anchor)
        if isinstance(event, MappingStartEvent):
            node = self._mapping(path)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(path)
        else:
            node = _Node(self._scalar(cast("ScalarEvent", event)), 1)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return self._tagged(event, node, path)

    def _tagged(self, event: Event, node: _Node, path: Path) -> _Node:
        tag = cast("str | None", getattr(event, "tag", None))
        if tag in {"!reset", "!override"}:
            self._cleared.append(path)
            return _Node(_GONE, 1) if tag == "!reset" else node
        if tag and tag != "!" and not tag.startswith(_CORE):
            raise self._fault(event, f"unknown tag {tag}: Compose knows !reset and !override")
        return node

    def _alias(self, event: AliasEvent, path: Path) -> _Node:
        anchor = cast("str", event.anchor)
        if anchor in self._open:
            where = dotted(path)
            raise self._fault(
                event, f"cycle detected: node at path {where} references itself by *{anchor}"
            )
        node = self._anchors.get(anchor)
        if node is None:
            raise self._fault(event, f"unknown anchor '{anchor}' referenced")
        self._expanded += node.size
        if self._expanded > _NODES_MAX:
            raise self._fault(event, "document contains excessive aliasing")
        return _Node(clone(node.data), node.size)

    def _sequence(self, path: Path) -> _Node:
        items: list[Json] = []
        size = 1
        while not isinstance(event := next(self._events), SequenceEndEvent):
            node = self._node(event, (*path, len(items)))
            size += node.size
            if node.data is not _GONE:
                items.append(node.data)
        return _Node(items, size)

    def _mapping(self, path: Path) -> _Node:
        found: JsonObject = {}
        merged: list[JsonObject] = []
        lines: dict[str, int] = {}
        size = 1
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path)
            line = self._mark(event).line
            if key in lines:
                raise self._fault(
                    event, f'mapping key "{key}" already defined at line {lines[key]}'
                )
            lines[key] = line
            mark = self._mark(event)
            value_event = next(self._events)
            node = self._node(value_event, (*path, key))
            size += node.size
            if key == "<<":
                merged += self._merge_sources(value_event, node.data)
                continue
            # A value's place is its key's: that is where a reader looks.
            self._marks[(*path, key)] = mark
            if node.data is not _GONE:
                found[key] = node.data
        for source in merged:
            for name, value in source.items():
                if name not in lines:
                    found.setdefault(name, value)
        return _Node(found, size)

    def _merge_sources(self, event: Event, value: Json) -> list[JsonObject]:
        items = value if isinstance(value, list) else [value]
        sources = [item for item in items if isinstance(item, dict)]
        if len(sources) != len(items):
            raise self._fault(event, "map merge requires map or sequence of maps as the value")
        return sources

    def _key(self, event: Event, path: Path) -> str:
        if isinstance(event, ScalarEvent):
            key = self._scalar(event)
        elif isinstance(event, AliasEvent):
            key = self._alias(event, path).data
        else:
            raise self._fault(event, f"non-string key {_where(path)}")
        if not isinstance(key, str):
            shown = event.value if isinstance(event, ScalarEvent) else str(key)
            raise self._fault(event, f"non-string key {_where(path)}: {shown}")
        return key

    def _scalar(self, event: ScalarEvent) -> Json:
        text = event.value
        tag = event.tag
        if tag == _CORE + "str" or (tag is None and not event.implicit[0]):
            return text
        if tag is not None and not tag.startswith(_CORE) and event.style:
            return text
        return resolve_plain(text)


def _where(path: Path) -> str:
    if not path:
        return "at top level"
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"in {shown.removeprefix('.')}"
