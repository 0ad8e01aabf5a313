"""What checks find in a Dockerfile, and what a question about one is answered; plain data."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from kedge.lib.jsontypes import JsonObject

_PAGES: Final = "https://docs.docker.com/go/dockerfile/rule/"


@dataclass(frozen=True, slots=True)
class Rule:
    """One check."""

    name: str
    description: str
    page: str
    """Last part of the address of its page; empty where it has none."""
    is_experimental: bool = False

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"{_PAGES}{self.page}/" if self.page else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWarning:
    """One thing a check found."""

    rule: Rule
    detail: str
    line: int
    end_line: int

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.detail} (line {self.line})"


class Answer(NamedTuple):
    """One answer."""

    summary: str
    """One line, which BuildKit's clients make themselves; empty where there is none."""
    text: str
    document: JsonObject
    status_code: int
    """1 where checks found something."""
