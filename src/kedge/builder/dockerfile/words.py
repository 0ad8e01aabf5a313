"""How the rest of an instruction splits: quoted words, flags, name-value pairs, JSON arrays.

Quotes and escapes stay in the words; the expansion removes them later.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from kedge.builder.dockerfile.characters import WORD_GAP
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.lib.jsontypes import Json
from kedge.lib.spaces import SPACES

_NOT_STRINGS: Final = "when using JSON array syntax, arrays must be comprised of strings only"


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class _Word:
    text: list[str] = field(default_factory=list)
    quoted: bool = False

    def is_word(self) -> bool:
        return self.quoted or bool(self.text)


def split_words(text: str, escape: str) -> list[str]:
    """Split ``text`` at white space outside quotes, keeping quotes and escapes."""
    words: list[str] = []
    word = _Word()
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in SPACES:
            if word.is_word():
                words.append("".join(word.text))
            word = _Word()
            continue
        if char == escape and quote != "'":
            if position < len(text):
                word.text.append(char + text[position])
                position += 1
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
            word.quoted = True
        word.text.append(char)
    if word.is_word():
        words.append("".join(word.text))
    return words


def split_flags(text: str) -> tuple[list[str], str]:
    """Take the leading ``--flag`` words off ``text``; a lone ``--`` ends them and is dropped.

    Quotes around a flag's value and backslashes are removed here.
    """
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in SPACES:
            position += 1
        if not text.startswith("--", position):
            return flags, text[position:]
        flag, position = _flag_at(text, position)
        if flag == "--":
            return flags, text[position:]
        flags.append(flag)


def _flag_at(text: str, position: int) -> tuple[str, int]:
    out: list[str] = []
    quote = ""
    while position < len(text):
        char = text[position]
        if not quote and char in SPACES:
            break
        position += 1
        if char == "\\":
            out.append(text[position : position + 1])
            position += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            out.append(char)
    return "".join(out), position


def split_blanks(text: str) -> list[str]:
    """Split ``text`` at blanks; quotes have no meaning."""
    return WORD_GAP.split(text) if text else []


def parse_pairs(text: str, instruction: str, escape: str) -> list[str]:
    """Parse ``name=value ...`` or the old ``name value`` into name, value, separator triples.

    Raises:
        DockerfileError: A word has no ``=``, or the old form has no value.
    """
    words = split_words(text, escape)
    if not words:
        return []
    if "=" not in words[0]:
        parts = WORD_GAP.split(text, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileError(f"{instruction} must have two arguments")
        return [parts[0], parts[1], ""]
    triples: list[str] = []
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise DockerfileError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        triples += (name, value, "=")
    return triples


def try_parse_json_array(text: str) -> list[str] | None:
    """Return the strings of a JSON array, or None when ``text`` is no JSON array at all.

    Raises:
        DockerfileError: It is a JSON array with something else than strings in it.
    """
    if not text.lstrip(SPACES).startswith("["):
        return None
    try:
        document: Json = json.loads(text.strip(SPACES), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, list):
        return None
    return list(_strings(document))


def _strings(document: list[Json]) -> Iterator[str]:
    for value in document:
        if not isinstance(value, str):
            raise DockerfileError(_NOT_STRINGS)
        # Half of a surrogate pair is no character; Go reads it as U+FFFD too.
        yield _SURROGATE.sub("\ufffd", value)


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
