"""Typed reads from a decoded JSON document, with errors that name the JSON path.

Absent keys and ``null`` mean the same thing, as they do to Go's decoder, which every OCI producer
was tested against. Unknown keys are ignored: the specification tells runtimes to.
"""

from __future__ import annotations

from kedge.errdefs import InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from kedge.lib.jsontypes import Json, JsonObject

    T = TypeVar("T")


INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
UINT16_MAX: Final = (1 << 16) - 1
UINT32_MAX: Final = (1 << 32) - 1
UINT64_MAX: Final = (1 << 64) - 1


def read_object(value: Json, path: str) -> JsonObject:
    """Return ``value`` as an object.

    Raises:
        InvalidParameterError: It is something else.
    """
    if not isinstance(value, dict):
        raise InvalidParameterError(f"{path} must be an object")
    return value


def optional_object(document: JsonObject, key: str, path: str) -> JsonObject | None:
    """Return the object under ``key``, or None."""
    value = document.get(key)
    return None if value is None else read_object(value, f"{path}.{key}")


def optional_integer(
    document: JsonObject, key: str, path: str, *, low: int = INT64_MIN, high: int = INT64_MAX
) -> int | None:
    """Return the integer under ``key`` within ``low`` and ``high``, or None."""
    value = document.get(key)
    if value is None:
        return None
    # bool is an int to Python and never one to JSON.
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameterError(f"{path}.{key} must be an integer")
    if not low <= value <= high:
        raise InvalidParameterError(f"{path}.{key} must be between {low} and {high}")
    return value


def require_integer(
    document: JsonObject, key: str, path: str, *, low: int = INT64_MIN, high: int = INT64_MAX
) -> int:
    """Return the integer under ``key``, which must be there."""
    value = optional_integer(document, key, path, low=low, high=high)
    if value is None:
        raise InvalidParameterError(f"{path}.{key} is required")
    return value


def optional_string(document: JsonObject, key: str, path: str) -> str | None:
    """Return the string under ``key``, or None."""
    value = document.get(key)
    if value is None or isinstance(value, str):
        return value
    raise InvalidParameterError(f"{path}.{key} must be a string")


def require_string(document: JsonObject, key: str, path: str) -> str:
    """Return the string under ``key``, which must be there."""
    value = optional_string(document, key, path)
    if value is None:
        raise InvalidParameterError(f"{path}.{key} is required")
    return value


def optional_boolean(document: JsonObject, key: str, path: str) -> bool | None:
    """Return the boolean under ``key``, or None."""
    value = document.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidParameterError(f"{path}.{key} must be true or false")


def read_list(
    document: JsonObject, key: str, path: str, parse_item: Callable[[Json, str], T]
) -> tuple[T, ...]:
    """Return the items under ``key``, each parsed with its own path; empty when absent."""
    value = document.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidParameterError(f"{path}.{key} must be an array")
    return tuple(parse_item(item, f"{path}.{key}[{index}]") for index, item in enumerate(value))


def read_string_item(value: Json, path: str) -> str:
    """Return an array's item that must be a string; for `read_list`."""
    if not isinstance(value, str):
        raise InvalidParameterError(f"{path} must be a string")
    return value


def read_string_map(document: JsonObject, key: str, path: str) -> dict[str, str]:
    """Return the string-to-string map under ``key``; empty when absent."""
    value = optional_object(document, key, path) or {}
    return {name: read_string_item(item, f"{path}.{key}.{name}") for name, item in value.items()}
