"""Parser directives: the ``# name=value`` lines at the very top of a Dockerfile.

The first line that is not a directive (a blank, an ordinary comment, an instruction, an unknown
name) ends them. ``syntax`` is also found after a shebang, as ``//syntax=`` and in a JSON file,
because a front end may use another comment style.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.lib.spaces import SPACES

if TYPE_CHECKING:
    from kedge.lib.jsontypes import Json

KNOWN: Final = frozenset({"escape", "syntax", "check"})
DEFAULT_ESCAPE: Final = "\\"

_NAME_VALUE: Final = r"\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$"
_HASH: Final = re.compile("#" + _NAME_VALUE)
_SLASHES: Final = re.compile("//" + _NAME_VALUE)
_BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One directive; ``name`` is lower case, ``line`` counts from 1."""

    name: str
    value: str
    line: int


def parse_directives(text: str) -> tuple[Directive, ...]:
    """Return the directives at the top of ``text``.

    Raises:
        DockerfileError: A directive is given twice, or ``escape`` is no backslash or backtick.
    """
    return _checked(_scan(text, first_line=1, pattern=_HASH))


def _checked(found: Iterator[Directive]) -> tuple[Directive, ...]:
    seen: dict[str, Directive] = {}
    for directive in found:
        if directive.name in seen:
            raise DockerfileError(
                f"only one {directive.name} parser directive can be used", line=directive.line
            )
        if directive.name == "escape" and directive.value not in ("\\", "`"):
            raise DockerfileError(
                f"invalid escape token '{directive.value}' does not match ` or \\",
                line=directive.line,
            )
        seen[directive.name] = directive
    return tuple(seen.values())


def _scan(text: str, *, first_line: int, pattern: re.Pattern[str]) -> Iterator[Directive]:
    lines = text.removeprefix(_BYTE_ORDER_MARK).split("\n")
    for number, line in enumerate(lines, start=first_line):
        match = pattern.match(line.strip(SPACES))
        if match is None or match[1].lower() not in KNOWN:
            return
        yield Directive(name=match[1].lower(), value=match[2], line=number)


def _without_shebang(text: str) -> tuple[str, int]:
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if not text.startswith("#!"):
        return text, 1
    return text.partition("\n")[2], 2


def find_directive(text: str, name: str) -> Directive | None:
    """Return the directive ``name`` of ``text`` if its top has one; a shebang may precede it."""
    body, first_line = _without_shebang(text)
    found = _checked(_scan(body, first_line=first_line, pattern=_HASH))
    return next((each for each in found if each.name == name), None)


def detect_syntax(text: str) -> Directive | None:
    """Return the ``syntax`` directive in any of the three spellings front ends use."""
    found = find_directive(text, "syntax")
    if found is not None:
        return found
    body, first_line = _without_shebang(text)
    slashes = _scan(body, first_line=first_line, pattern=_SLASHES)
    found = next((each for each in slashes if each.name == "syntax"), None)
    return found if found is not None else _syntax_of_json(body)


def _syntax_of_json(body: str) -> Directive | None:
    if not body.lstrip(SPACES).startswith("{"):
        return None
    try:
        document: Json = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    return Directive(name="syntax", value=value, line=1) if isinstance(value, str) else None


def first_word(value: str) -> str:
    """Return the image of ``syntax`` or the rule of ``check``, without what follows it."""
    words = value.split()
    return words[0] if words else ""
