"""The syntax tree: physical lines to instructions, before any instruction is understood.

Follows BuildKit's ``frontend/dockerfile/parser``: comments and continuation lines, leading blanks,
here-documents, flags, and the argument form each instruction has. An unknown instruction is kept,
so that the typed layer can name it together with its line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from kedge.builder.dockerfile.characters import WORD_GAP
from kedge.builder.dockerfile.directives import DEFAULT_ESCAPE, Directive, parse_directives
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.heredocs import Heredoc, heredocs_of_line
from kedge.builder.dockerfile.words import (
    parse_pairs,
    split_blanks,
    split_flags,
    split_words,
    try_parse_json_array,
)
from kedge.lib.spaces import SPACES

MAX_LINE_BYTES: Final = 65535
_EXPANDABLE: Final = frozenset({"ADD", "COPY", "RUN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction as written."""

    keyword: str
    """The instruction in the file's own spelling."""
    arguments: tuple[str, ...]
    flags: tuple[str, ...]
    is_json: bool
    trigger: "Node | None"
    """The instruction behind ONBUILD."""
    source: str
    """The logical line, continuation lines joined, without here-documents."""
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    """The comment lines directly above, without their ``#``."""
    start_line: int = 0
    end_line: int = 0

    @property
    def name(self) -> str:
        """The instruction in upper case."""
        return self.keyword.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed Dockerfile."""

    nodes: tuple[Node, ...]
    escape: str
    directives: tuple[Directive, ...]
    empty_continuations: tuple[tuple[int, str], ...]
    """Last line and text of instructions that have an empty line inside."""


_Arguments = tuple[list[str], bool]


def _string(text: str, _escape: str) -> _Arguments:
    return ([text] if text else []), False


def _blank_separated(text: str, _escape: str) -> _Arguments:
    return split_blanks(text), False


def _quoted_words(text: str, escape: str) -> _Arguments:
    return split_words(text, escape), False


def _json_or_string(text: str, escape: str) -> _Arguments:
    array = try_parse_json_array(text)
    return (array, True) if array is not None else _string(text, escape)


def _json_or_words(text: str, escape: str) -> _Arguments:
    array = try_parse_json_array(text)
    return (array, True) if array is not None else _blank_separated(text, escape)


def _env_pairs(text: str, escape: str) -> _Arguments:
    return parse_pairs(text, "ENV", escape), False


def _label_pairs(text: str, escape: str) -> _Arguments:
    return parse_pairs(text, "LABEL", escape), False


def _health(text: str, escape: str) -> _Arguments:
    parts = re.split(f"[{re.escape(SPACES)}]+", text, maxsplit=1)
    if not parts[0]:
        return [], False
    command, is_json = _json_or_string(parts[1] if len(parts) > 1 else "", escape)
    return [parts[0], *command], is_json


_FORMS: Final[dict[str, Callable[[str, str], _Arguments]]] = {
    "ADD": _json_or_words,
    "ARG": _quoted_words,
    "CMD": _json_or_string,
    "COPY": _json_or_words,
    "ENTRYPOINT": _json_or_string,
    "ENV": _env_pairs,
    "EXPOSE": _blank_separated,
    "FROM": _blank_separated,
    "HEALTHCHECK": _health,
    "LABEL": _label_pairs,
    "MAINTAINER": _string,
    "ONBUILD": _string,
    "RUN": _json_or_string,
    "SHELL": _json_or_string,
    "STOPSIGNAL": _string,
    "USER": _string,
    "VOLUME": _json_or_words,
    "WORKDIR": _string,
}

INSTRUCTIONS: Final = tuple(_FORMS)
"""The eighteen instruction names."""


def parse_line(line: str, escape: str = DEFAULT_ESCAPE) -> Node:
    """Parse one logical line into its node, without here-documents and line numbers."""
    keyword, _, rest = _partition(line)
    flags, text = split_flags(rest)
    text = text.strip(SPACES)
    name = keyword.upper()
    if name == "ONBUILD":
        trigger = parse_line(text, escape) if text else None
        arguments: list[str] = []
        is_json = False
    else:
        trigger = None
        arguments, is_json = _FORMS.get(name, _string)(text, escape)
    return Node(
        keyword=keyword,
        arguments=tuple(arguments),
        flags=tuple(flags),
        is_json=is_json,
        trigger=trigger,
        source=line,
    )


def _partition(line: str) -> tuple[str, str, str]:
    parts = WORD_GAP.split(line.strip(SPACES), maxsplit=1)
    return (parts[0], " ", parts[1]) if len(parts) > 1 else (parts[0], "", "")


def parse_document(text: str) -> Document:
    """Parse a whole Dockerfile.

    Raises:
        DockerfileError: The file is empty, a line is too long, a here-document has no end, or
            the words of an instruction cannot be split.
    """
    if not text:
        raise DockerfileError("the Dockerfile cannot be empty")
    directives = parse_directives(text)
    escape = next((each.value for each in directives if each.name == "escape"), DEFAULT_ESCAPE)
    reader = _Reader(text=text.removeprefix("\ufeff"), escape=escape, directives=len(directives))
    nodes: list[Node] = []
    while (node := reader.next_node()) is not None:
        nodes.append(node)
    if not nodes:
        raise DockerfileError("file with no instructions")
    return Document(
        nodes=tuple(nodes),
        escape=escape,
        directives=directives,
        empty_continuations=tuple(reader.empty_continuations),
    )


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACES).startswith("#")


@dataclass(slots=True, kw_only=True)
class _Reader:
    text: str
    escape: str
    directives: int
    """How many lines at the top are directives, which describe nothing."""
    lines: list[str] = field(init=False)
    line: int = 0
    """How many lines have been read, which is the number of the current one."""
    comments: list[str] = field(default_factory=list)
    empty_continuations: list[tuple[int, str]] = field(default_factory=list)
    continuation: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        escape = re.escape(self.escape)
        self.continuation = re.compile(f"(^|[^{escape}]){escape}[ \\t]*\\Z")

    def next_node(self) -> Node | None:
        """Return the next instruction, or None at the end of the file."""
        while self.line < len(self.lines):
            first = self._read().lstrip(SPACES)
            if _is_comment(first):
                if self.line > self.directives:
                    self._note_comment(first[1:].strip(SPACES))
                continue
            start = self.line
            logical, complete = self._cut_continuation(first)
            if complete and logical == "":
                self.comments.clear()
                continue
            logical = self._continue(logical, complete=complete)
            if logical.strip(SPACES):
                return self._node(logical, start)
        return None

    def _read(self) -> str:
        line = self.lines[self.line].removesuffix("\r")
        self.line += 1
        if len(line) * 4 > MAX_LINE_BYTES and len(line.encode(errors="surrogateescape")) > (
            MAX_LINE_BYTES
        ):
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES}", line=self.line
            )
        return line

    def _note_comment(self, comment: str) -> None:
        if comment:
            self.comments.append(comment)
        else:
            self.comments.clear()

    def _cut_continuation(self, line: str) -> tuple[str, bool]:
        match = self.continuation.search(line)
        if match is None:
            return line, True
        return line[: match.end(1)], False

    def _continue(self, logical: str, *, complete: bool) -> str:
        parts = [logical]
        has_empty = False
        while not complete and self.line < len(self.lines):
            line = self._read()
            if _is_comment(line):
                continue
            if not line.strip(SPACES):
                has_empty = True
                continue
            part, complete = self._cut_continuation(line)
            parts.append(part)
        joined = "".join(parts)
        if has_empty:
            self.empty_continuations.append((self.line, joined))
        return joined

    def _node(self, logical: str, start: int) -> Node:
        try:
            node = parse_line(logical, self.escape)
            heredocs = tuple(self._body(each) for each in self._announced(node))
        except DockerfileError as error:
            raise error.at(start) from None
        comments = tuple(self.comments)
        self.comments.clear()
        return replace(
            node, heredocs=heredocs, comments=comments, start_line=start, end_line=self.line
        )

    @staticmethod
    def _announced(node: Node) -> tuple[Heredoc, ...]:
        inner = node.trigger or node
        if inner.name not in _EXPANDABLE or inner.is_json:
            return ()
        return heredocs_of_line(node.source)

    def _body(self, heredoc: Heredoc) -> Heredoc:
        content: list[str] = []
        while self.line < len(self.lines):
            line = self.lines[self.line]
            self.line += 1
            candidate = line.removesuffix("\r")
            if heredoc.chomp:
                candidate = candidate.lstrip("\t")
            if candidate == heredoc.name:
                return heredoc.with_content("".join(content))
            content.append(line + "\n")
        raise DockerfileError(f"unterminated heredoc {heredoc.name}")
