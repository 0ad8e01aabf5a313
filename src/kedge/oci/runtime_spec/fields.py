"""Reading a decoded JSON object field by field, with errors that name the JSON path.

`Fields` knows JSON types and ranges; what the fields are called is the parsers' business.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

T = TypeVar("T")

UINT16: Final = (0, 0xFFFF)
UINT32: Final = (0, 0xFFFF_FFFF)
UINT64: Final = (0, 0xFFFF_FFFF_FFFF_FFFF)
INT32: Final = (-0x8000_0000, 0x7FFF_FFFF)
INT64: Final = (-0x8000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF)

_KINDS: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
}


def _wrong(path: str, kind: type) -> InvalidParameterError:
    return InvalidParameterError(f"invalid config.json: {path} must be {_KINDS[kind]}")


def _strings(value: Json, path: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(path, list)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise _wrong(f"{path}[{index}]", str)
    return tuple(item for item in value if isinstance(item, str))


class Fields:
    """One JSON object and where in the document it is. ``null`` counts as absent, as Go has it."""

    __slots__ = ("_object", "path")

    def __init__(self, value: Json, path: str) -> None:
        """Wrap ``value``, which must be an object."""
        if not isinstance(value, dict):
            raise _wrong(path or "the document", dict)
        self._object: JsonObject = value
        self.path = path

    def at(self, name: str) -> str:
        """Return the path of the field ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._object.get(name) is not None

    def missing(self, name: str) -> InvalidParameterError:
        """Return the error for a required field that is absent."""
        return InvalidParameterError(f"invalid config.json: {self.at(name)} is required")

    def string(self, name: str, default: str | None = "") -> str:
        """Return a string; with ``default`` None it is required."""
        value = self._object.get(name)
        if value is None:
            if default is None:
                raise self.missing(name)
            return default
        if not isinstance(value, str):
            raise _wrong(self.at(name), str)
        return value

    def choice(self, name: str, choices: frozenset[str], *, required: bool = True) -> str:
        """Return a string that is one of ``choices``; empty when absent and not required."""
        value = self.string(name, None if required else "")
        if value not in choices and (value or required):
            raise InvalidParameterError(
                f"invalid config.json: {self.at(name)}: unknown value {value!r}"
            )
        return value

    def choices(self, name: str, choices: frozenset[str]) -> tuple[str, ...]:
        """Return an array of strings that are all in ``choices``."""
        values = self.strings(name)
        for index, value in enumerate(values):
            if value not in choices:
                raise InvalidParameterError(
                    f"invalid config.json: {self.at(name)}[{index}]: unknown value {value!r}"
                )
        return values

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self._object.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _wrong(self.at(name), bool)
        return value

    def optional_boolean(self, name: str) -> bool | None:
        """Return a boolean, or None when absent."""
        return self.boolean(name) if self.has(name) else None

    def optional_integer(self, name: str, limits: tuple[int, int]) -> int | None:
        """Return an integer within ``limits``, or None when absent."""
        value = self._object.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(self.at(name), int)
        if not limits[0] <= value <= limits[1]:
            raise InvalidParameterError(
                f"invalid config.json: {self.at(name)}: {value} is out of range"
            )
        return value

    def integer(self, name: str, limits: tuple[int, int], default: int | None = 0) -> int:
        """Return an integer within ``limits``; with ``default`` None it is required."""
        value = self.optional_integer(name, limits)
        if value is None:
            if default is None:
                raise self.missing(name)
            return default
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        """Return an array of strings."""
        value = self._object.get(name)
        return () if value is None else _strings(value, self.at(name))

    def integers(self, name: str, limits: tuple[int, int]) -> tuple[int, ...]:
        """Return an array of integers within ``limits``."""
        value = self._object.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise _wrong(self.at(name), list)
        found: list[int] = []
        for index, item in enumerate(value):
            path = f"{self.at(name)}[{index}]"
            if not isinstance(item, int) or isinstance(item, bool):
                raise _wrong(path, int)
            if not limits[0] <= item <= limits[1]:
                raise InvalidParameterError(f"invalid config.json: {path}: {item} is out of range")
            found.append(item)
        return tuple(found)

    def string_map(self, name: str) -> dict[str, str]:
        """Return an object whose values are strings."""
        found: dict[str, str] = {}
        for key, value in self._items(name):
            if not isinstance(value, str):
                raise _wrong(f"{self.at(name)}.{key}", str)
            found[key] = value
        return found

    def nested(self, name: str, parse: Callable[["Fields"], T]) -> T | None:
        """Parse the object in ``name``, or return None when absent."""
        value = self._object.get(name)
        return None if value is None else parse(Fields(value, self.at(name)))

    def array(self, name: str, parse: Callable[["Fields"], T]) -> tuple[T, ...]:
        """Parse an array of objects."""
        value = self._object.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise _wrong(self.at(name), list)
        return tuple(
            parse(Fields(item, f"{self.at(name)}[{index}]")) for index, item in enumerate(value)
        )

    def object_map(self, name: str, parse: Callable[["Fields"], T]) -> dict[str, T]:
        """Parse an object whose values are objects of one kind."""
        return {
            key: parse(Fields(value, f"{self.at(name)}.{key}")) for key, value in self._items(name)
        }

    def _items(self, name: str) -> Iterator[tuple[str, Json]]:
        value = self._object.get(name)
        if value is None:
            return
        if not isinstance(value, dict):
            raise _wrong(self.at(name), dict)
        yield from value.items()
