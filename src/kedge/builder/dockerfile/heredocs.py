"""Here-documents: ``<<EOF``, ``<<-EOF``, ``3<<EOF``, ``<<'EOF'`` in RUN, COPY and ADD.

A quoted delimiter turns expansion off; a dash removes the leading tabs of every line; the number
is a file descriptor. The words are found with the shell's quoting rules, so ``'<<EOF'`` is text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.shell import ShellLexer

_TOKEN: Final = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_OPERATOR_ONLY: Final = re.compile(r"\d*<<-?")
_LEADING_TABS: Final = re.compile(r"^\t+", re.MULTILINE)

_RAW: Final = ShellLexer(keep_quotes=True, keep_unset=True)
_PLAIN: Final = ShellLexer(keep_unset=True)
_RAW_LINE: Final = ShellLexer(keep_quotes=True, keep_escapes=True, keep_unset=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """One here-document; ``content`` is as written, tabs included."""

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    def with_content(self, content: str) -> "Heredoc":
        """Return this here-document with its lines."""
        return replace(self, content=content)

    @property
    def text(self) -> str:
        """The content as a shell would pass it on: without leading tabs after ``<<-``."""
        return chomp(self.content) if self.chomp else self.content


def chomp(content: str) -> str:
    """Return ``content`` without the tabs that begin its lines."""
    return _LEADING_TABS.sub("", content)


def try_parse_heredoc(token: str) -> Heredoc | None:
    """Return the here-document that ``token`` announces, or None when it is ordinary text.

    Raises:
        DockerfileError: A quote of the delimiter is not closed.
    """
    match = _TOKEN.fullmatch(token)
    if match is None or not match[3]:
        return None
    raw = _RAW.words(match[3], {})
    plain = _PLAIN.words(match[3], {})
    if len(raw) != 1 or len(plain) != 1:
        return None
    return Heredoc(
        name=plain[0],
        expand=raw == plain,
        chomp=match[2] == "-",
        descriptor=int(match[1] or "0"),
    )


def join_operators(words: Iterable[str]) -> list[str]:
    """Return ``words`` with a lone ``<<`` or ``<<-`` put before the delimiter that follows it."""
    joined: list[str] = []
    operator = ""
    for word in words:
        if operator:
            joined.append(f"{operator} {word}")
            operator = ""
        elif _OPERATOR_ONLY.fullmatch(word):
            operator = word
        else:
            joined.append(word)
    return [*joined, operator] if operator else joined


def heredocs_of_line(line: str) -> tuple[Heredoc, ...]:
    """Return the here-documents that ``line`` announces, in order and without content."""
    if "<<" not in line:
        return ()
    try:
        words = _RAW_LINE.words(line, {})
    except DockerfileError:
        return ()
    found = (try_parse_heredoc(word) for word in join_operators(words))
    return tuple(heredoc for heredoc in found if heredoc is not None)
