"""One JSON object and where it stands in the document, so that a parser reads like the schema.

The checks themselves are `kedge.oci.fields`.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.fields import (
    INT64_MAX,
    INT64_MIN,
    UINT32_MAX,
    UINT64_MAX,
    optional_boolean,
    optional_integer,
    optional_object,
    optional_string,
    read_list,
    read_object,
    read_string_item,
    read_string_map,
    require_integer,
    require_string,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from kedge.lib.jsontypes import Json, JsonObject

    T = TypeVar("T")


UINT32: Final = (0, UINT32_MAX)
UINT64: Final = (0, UINT64_MAX)
INT32: Final = (-(1 << 31), (1 << 31) - 1)
INT64: Final = (INT64_MIN, INT64_MAX)


class Fields:
    """The fields of one object; ``null`` counts as absent."""

    __slots__ = ("document", "path")

    def __init__(self, value: Json, path: str) -> None:
        """Wrap ``value``, which must be an object."""
        self.document: JsonObject = read_object(value, path)
        self.path = path

    def at(self, name: str) -> str:
        """Return the path of the field ``name``."""
        return f"{self.path}.{name}"

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self.document.get(name) is not None

    def required_string(self, name: str) -> str:
        """Return a string that must be there."""
        return require_string(self.document, name, self.path)

    def string(self, name: str) -> str:
        """Return a string, empty when absent."""
        return optional_string(self.document, name, self.path) or ""

    def choice(self, name: str, choices: frozenset[str]) -> str:
        """Return a string of ``choices``, empty when absent."""
        value = self.string(name)
        if value and value not in choices:
            raise InvalidParameterError(f"{self.at(name)}: unknown value {value!r}")
        return value

    def required_choice(self, name: str, choices: frozenset[str]) -> str:
        """Return a string of ``choices`` that must be there."""
        if not self.required_string(name):
            raise InvalidParameterError(f"{self.at(name)} must not be empty")
        return self.choice(name, choices)

    def choices(self, name: str, choices: frozenset[str]) -> tuple[str, ...]:
        """Return an array of strings of ``choices``."""
        values = self.strings(name)
        for index, value in enumerate(values):
            if value not in choices:
                raise InvalidParameterError(f"{self.at(name)}[{index}]: unknown value {value!r}")
        return values

    def boolean(self, name: str) -> bool:
        """Return a boolean, False when absent."""
        return optional_boolean(self.document, name, self.path) or False

    def optional_integer(self, name: str, limits: tuple[int, int]) -> int | None:
        """Return an integer within ``limits``, or None when absent."""
        low, high = limits
        return optional_integer(self.document, name, self.path, low=low, high=high)

    def integer(self, name: str, limits: tuple[int, int]) -> int:
        """Return an integer within ``limits``, 0 when absent."""
        return self.optional_integer(name, limits) or 0

    def required_integer(self, name: str, limits: tuple[int, int]) -> int:
        """Return an integer within ``limits`` that must be there."""
        low, high = limits
        return require_integer(self.document, name, self.path, low=low, high=high)

    def strings(self, name: str) -> tuple[str, ...]:
        """Return an array of strings."""
        return read_list(self.document, name, self.path, read_string_item)

    def integers(self, name: str, limits: tuple[int, int]) -> tuple[int, ...]:
        """Return an array of integers within ``limits``."""

        def read(value: Json, path: str) -> int:
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidParameterError(f"{path} must be an integer")
            if not limits[0] <= value <= limits[1]:
                raise InvalidParameterError(f"{path} must be between {limits[0]} and {limits[1]}")
            return value

        return read_list(self.document, name, self.path, read)

    def string_map(self, name: str) -> dict[str, str]:
        """Return an object whose values are strings."""
        return read_string_map(self.document, name, self.path)

    def nested(self, name: str, parse: Callable[[Fields], T]) -> T | None:
        """Parse the object in ``name``, or return None when absent."""
        value = self.document.get(name)
        return None if value is None else parse(Fields(value, self.at(name)))

    def array(self, name: str, parse: Callable[[Fields], T]) -> tuple[T, ...]:
        """Parse an array of objects."""
        return read_list(
            self.document, name, self.path, lambda value, path: parse(Fields(value, path))
        )

    def object_map(self, name: str, parse: Callable[[Fields], T]) -> dict[str, T]:
        """Parse an object whose values are objects of one kind."""
        found = optional_object(self.document, name, self.path) or {}
        return {key: parse(Fields(value, f"{self.at(name)}.{key}")) for key, value in found.items()}
