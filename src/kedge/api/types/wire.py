"""The Struct all wire types derive from, and how Go's ``omitempty`` is said here.

msgspec leaves out a field whose value *is* its declared default. A plain default (``= ""``,
``= 0``, ``default_factory=list``) therefore means ``omitempty``. A field that Docker always
prints takes a factory that msgspec does not recognise as a default: `str`, `int`, `bool`,
`shown_null`, or is declared with `shown_list` or `shown_dict`.
"""

from typing import Annotated, Final, Generic, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

# Marks a Go `strslice.StrSlice`: on input one string stands for a list of one.
STR_SLICE_MARK: Final = {"go_type": "StrSlice"}


# Go's zero time, which stands for "never" on the wire.
ZERO_TIME: Final = "0001-01-01T00:00:00Z"


class Wire(msgspec.Struct, rename="pascal", omit_defaults=True):
    """A JSON object whose keys are the field names in Go's spelling."""


class Empty(msgspec.Struct):
    """Go's ``struct{}``: the value in a map that is used as a set."""


StrSlice: TypeAlias = Annotated[list[str] | None, msgspec.Meta(extra=STR_SLICE_MARK)]


def zero_time() -> str:
    """Return `ZERO_TIME`, as the default of a point in time that is always printed."""
    return ZERO_TIME


def shown_null() -> None:
    """Return None, as the default of a field that is printed as ``null``."""


def shown_list(name: str | None = None) -> list[T]:
    """Declare a list that is printed as ``[]`` when empty; stands where `msgspec.field` would."""
    declared: list[T] = msgspec.field(default_factory=_ListFactory[T](), name=name)
    return declared


def shown_dict(name: str | None = None) -> dict[str, T]:
    """Declare a dict that is printed as ``{}`` when empty; stands where `msgspec.field` would."""
    declared: dict[str, T] = msgspec.field(default_factory=_DictFactory[T](), name=name)
    return declared


class _ListFactory(Generic[T]):
    def __call__(self) -> list[T]:
        return []


class _DictFactory(Generic[T]):
    def __call__(self) -> dict[str, T]:
        return {}
