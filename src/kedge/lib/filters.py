"""The ``filters`` parameter of list, prune and events: parsing it and matching with it.

Vocabulary: moby `api/types/filters`. Which keys a list understands, and what they compare, is
the list's own business.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json


class Filters:
    """Filter values by key; a key that is absent lets everything through."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        """Take the values by key."""
        self._values = {key: tuple(items) for key, items in values.items() if items}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._values == other._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Filters({self._values!r})"

    def keys(self) -> Iterable[str]:
        """Return the keys that have values."""
        return self._values.keys()

    def get(self, key: str) -> tuple[str, ...]:
        """Return the values of ``key``, empty when there are none."""
        return self._values.get(key, ())

    def check_keys(self, accepted: Iterable[str]) -> None:
        """Refuse a key outside ``accepted``, with Docker's text.

        Raises:
            InvalidParameterError: A key is unknown.
        """
        known = frozenset(accepted)
        for key in self._values:
            if key not in known:
                raise InvalidParameterError(f"invalid filter '{key}'")

    def boolean(self, key: str, *, default: bool) -> bool:
        """Return the value of a yes/no filter such as ``dangling``.

        Raises:
            InvalidParameterError: It is neither, or both.
        """
        values = self._values.get(key)
        if values is None:
            return default
        truths = {_parse_bool(value) for value in values}
        answer = truths.pop()
        if truths or answer is None:
            listed = " ".join(values)
            raise InvalidParameterError(f"invalid filter '{key}=[{listed}]'")
        return answer

    def matches_exactly(self, key: str, value: str) -> bool:
        """Return whether ``value`` is one of the wanted ones, or none are wanted."""
        values = self._values.get(key)
        return values is None or value in values

    def matches_prefix(self, key: str, value: str) -> bool:
        """Return whether ``value`` starts with one of the wanted ones, or none are wanted."""
        values = self._values.get(key)
        return values is None or value.startswith(values)

    def matches_pattern(self, key: str, value: str) -> bool:
        """Return whether a wanted regular expression is found in ``value``, or none are wanted.

        A value that is no regular expression counts as plain text.
        """
        values = self._values.get(key)
        if values is None:
            return True
        return any(_found(pattern, value) for pattern in values)

    def matches_labels(self, labels: Mapping[str, str], *, key: str = "label") -> bool:
        """Return whether ``labels`` has every ``name`` and ``name=value`` that ``key`` wants."""
        for wanted in self._values.get(key, ()):
            name, equals, value = wanted.partition("=")
            if name not in labels or (equals and labels[name] != value):
                return False
        return True

    def excludes_labels(self, labels: Mapping[str, str]) -> bool:
        """Return whether a ``label!`` filter of a prune keeps an object with these labels."""
        wanted = self._values.get("label!", ())
        return any(Filters({"label": (item,)}).matches_labels(labels) for item in wanted)


def parse_filters(text: str) -> Filters:
    """Return the filters of a query parameter, in either of the two shapes clients send.

    Go sends ``{"key": {"value": true}}``, Python and people send ``{"key": ["value"]}``.

    Raises:
        InvalidParameterError: The text is neither.
    """
    if not text:
        return Filters({})
    try:
        document: Json = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidParameterError(f"invalid filter: {text[:100]}") from None
    if not isinstance(document, dict):
        raise InvalidParameterError(f"invalid filter: {text[:100]}")
    return Filters({key: _parse_values(key, values) for key, values in document.items()})


def format_filters(filters: Filters) -> str:
    """Return the shape current engines read: ``{"key": {"value": true}}``."""
    document = {key: dict.fromkeys(filters.get(key), True) for key in filters.keys()}  # noqa: SIM118
    return json.dumps(document, separators=(",", ":"))


def _parse_values(key: str, values: Json) -> tuple[str, ...]:
    if isinstance(values, dict):
        return tuple(value for value, wanted in values.items() if wanted)
    if isinstance(values, list):
        return tuple(_value_text(key, value) for value in values)
    raise InvalidParameterError(f"invalid filter '{key}'")


def _value_text(key: str, value: Json) -> str:
    # docker-py writes Python booleans as they are.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise InvalidParameterError(f"invalid filter '{key}'")


def _parse_bool(value: str) -> bool | None:
    lowered = value.lower()
    if lowered in {"1", "true", "t"}:
        return True
    if lowered in {"0", "false", "f"}:
        return False
    return None


def _found(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return pattern in value
