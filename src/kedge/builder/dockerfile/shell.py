"""Word expansion of Dockerfile arguments: quotes, escapes, ``$name`` and ``${name...}``.

Follows the POSIX words of BuildKit's ``frontend/dockerfile/shell``: the modifiers
``:- - :+ + :? ? # ## % %% / //``, nested at will. It splits words *after* expansion, as a shell
does. It knows no command substitution, no arithmetic and no globbing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.globs import replace_pattern, trim_prefix, trim_suffix
from kedge.lib.spaces import SPACES

_END: Final = ""
_SPECIAL_PARAMETERS: Final = frozenset("@*#?-$!0")
_MISSING_BRACE: Final = "syntax error: missing '}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a text became: one string, the same split into words, and the names it asked for."""

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unmatched: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellLexer:
    """The rules of one expansion; reusable and without state."""

    escape: str = "\\"
    keep_quotes: bool = False
    keep_escapes: bool = False
    ignore_quotes: bool = False
    """Quotes are ordinary characters: the bodies of COPY heredocs."""
    keep_unset: bool = False
    """Leave ``$name`` as it stands when the name is not set."""

    def expand(self, text: str, environment: Mapping[str, str]) -> Expansion:
        """Expand ``text`` with ``environment``.

        Raises:
            DockerfileError: A quote or brace is open at the end, a modifier is unknown, or a
                ``${name?message}`` failed.
        """
        scan = _Scan(rules=self, text=text, environment=environment, keep_escapes=self.keep_escapes)
        try:
            result, words = scan.until(_END)
        except DockerfileError as error:
            raise DockerfileError(f'failed to process "{text}": {error.reason}') from None
        return Expansion(
            text=result,
            words=tuple(words),
            matched=frozenset(scan.matched),
            unmatched=frozenset(scan.unmatched),
        )

    def word(self, text: str, environment: Mapping[str, str]) -> str:
        """Return ``text`` expanded to one word."""
        return self.expand(text, environment).text

    def words(self, text: str, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return ``text`` expanded and then split at unquoted white space."""
        return self.expand(text, environment).words


class _Words:
    """Splits expanded characters into words; quoted text never splits."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._open: list[str] = []

    def add(self, text: str) -> None:
        for char in text:
            if char not in SPACES:
                self._open.append(char)
            elif self._open:
                self.flush()

    def add_raw(self, text: str) -> None:
        self._open.append(text)

    def flush(self) -> list[str]:
        word = "".join(self._open)
        if word:
            self._done.append(word)
            self._open.clear()
        return self._done


@dataclass(slots=True, kw_only=True)
class _Scan:
    rules: ShellLexer
    text: str
    environment: Mapping[str, str]
    keep_escapes: bool
    position: int = 0
    matched: set[str] = field(default_factory=set)
    unmatched: set[str] = field(default_factory=set)

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def take(self) -> str:
        char = self.peek()
        self.position += 1
        return char

    def until(self, stop: str, *, keep_escapes: bool | None = None) -> tuple[str, list[str]]:
        """Expand up to ``stop`` (consumed) or, when that is `_END`, to the end."""
        before = self.keep_escapes
        if keep_escapes is not None:
            self.keep_escapes = keep_escapes
        try:
            return self._until(stop)
        finally:
            self.keep_escapes = before

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while (char := self.peek()) != _END:
            if char == stop:
                self.take()
                return "".join(result), words.flush()
            if char == "$":
                value = self._dollar()
                words.add(value)
            elif char in "'\"" and not self.rules.ignore_quotes:
                value = self._single_quoted() if char == "'" else self._double_quoted()
                words.add_raw(value)
            elif char == self.rules.escape:
                value = self._escaped()
                words.add_raw(value)
            else:
                value = self.take()
                words.add(value)
            result.append(value)
        if stop != _END:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.flush()

    def _escaped(self) -> str:
        escape = self.take()
        kept = escape if self.keep_escapes else ""
        return kept + self.take()

    def _single_quoted(self) -> str:
        start = self.position
        end = self.text.find("'", start + 1)
        if end < 0:
            raise DockerfileError(
                "unexpected end of statement while looking for matching single-quote"
            )
        self.position = end + 1
        return self.text[start : end + 1] if self.rules.keep_quotes else self.text[start + 1 : end]

    def _double_quoted(self) -> str:
        quote = self.take() if self.rules.keep_quotes else self.take()[1:]
        result = [quote]
        while (char := self.peek()) != '"':
            if char == _END:
                raise DockerfileError(
                    "unexpected end of statement while looking for matching double-quote"
                )
            if char == "$":
                result.append(self._dollar())
            elif char == self.rules.escape:
                result.append(self._escaped_in_double_quotes())
            else:
                result.append(self.take())
        self.take()
        result.append(quote)
        return "".join(result)

    def _escaped_in_double_quotes(self) -> str:
        escape = self.take()
        kept = escape if self.keep_escapes else ""
        following = self.peek()
        if following == _END:
            return kept
        if following in ('"', "$", self.rules.escape):
            return kept + self.take()
        return kept + escape

    def _value(self, name: str) -> str | None:
        value = self.environment.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value

    def _name(self) -> str:
        start = self.position
        char = self.peek()
        if char.isdecimal():
            while self.peek().isdecimal():
                self.take()
        elif char in _SPECIAL_PARAMETERS:
            self.take()
        else:
            while (char := self.peek()).isalpha() or char.isdecimal() or char == "_":
                self.take()
        return self.text[start : self.position]

    def _dollar(self) -> str:
        self.take()
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            if value is None:
                return f"${name}" if self.rules.keep_unset else ""
            return value
        self.take()
        return self._braced()

    def _braced(self) -> str:
        if self.peek() == _END:
            raise DockerfileError(_MISSING_BRACE)
        if self.peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        modifier = self.take()
        if modifier == _END:
            raise DockerfileError(_MISSING_BRACE)
        if modifier == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self.rules.keep_unset else ""
            return value
        if modifier == "/":
            return self._replaced(name)
        if modifier == ":":
            modifier += self.take()
        if modifier in ("-", "+", "?", ":-", ":+", ":?"):
            return self._conditional(name, modifier)
        if modifier in ("#", "%"):
            return self._trimmed(name, modifier)
        raise DockerfileError(f"unsupported modifier ({modifier}) in substitution")

    def _operand(self, stop: str, *, keep_escapes: bool, missing: str) -> str:
        try:
            return self.until(stop, keep_escapes=keep_escapes)[0]
        except DockerfileError:
            if self.peek() == _END:
                raise DockerfileError(missing) from None
            raise

    def _conditional(self, name: str, modifier: str) -> str:
        word = self._operand("}", keep_escapes=False, missing=_MISSING_BRACE)
        value = self._value(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        present = value is not None and (value != "" or not modifier.startswith(":"))
        if modifier.endswith("+"):
            return word if present else ""
        if present and value is not None:
            return value
        if modifier.endswith("-"):
            return word
        state = "unset" if value is None else "empty"
        raise DockerfileError(f"{name}: {word or f'is not allowed to be {state}'}")

    def _trimmed(self, name: str, modifier: str) -> str:
        word = self._operand("}", keep_escapes=True, missing=_MISSING_BRACE)
        value = self._value(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        longest = word.startswith(modifier)
        trim = trim_prefix if modifier == "#" else trim_suffix
        return trim(value or "", word.removeprefix(modifier), longest=longest)

    def _replaced(self, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.take()
        pattern = self._operand("/", keep_escapes=True, missing="syntax error: missing '/' in ${}")
        replacement = self._operand("}", keep_escapes=True, missing=_MISSING_BRACE)
        value = self._value(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}{'//' if every else '/'}{pattern}/{replacement}}}"
        return replace_pattern(value or "", pattern, replacement, every=every)
