"""The Struct all wire types derive from, and how Go's ``omitempty`` is said here.

msgspec leaves out a field whose value *is* its declared default. A plain default (``= ""``,
``= 0``, ``default_factory=list``) therefore means ``omitempty``. A field that Docker always
prints takes a factory that msgspec does not recognise as a default: `str`, `int`, `bool`,
`float`, or one of the functions below.
"""

from typing import Annotated, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

# Marks a Go `strslice.StrSlice`: on input one string stands for a list of one.
STR_SLICE_MARK = "strslice"


class Wire(msgspec.Struct, rename="pascal", omit_defaults=True):
    """A JSON object whose keys are the field names in Go's spelling."""


class Empty(msgspec.Struct):
    """Go's ``struct{}``: the value in a map that is used as a set."""


StrSlice: TypeAlias = Annotated[list[str] | None, msgspec.Meta(extra={STR_SLICE_MARK: True})]


def shown_null() -> None:
    """Return None, as the default of a field that is printed as ``null``."""


def shown_list() -> list[T]:
    """Return a new list, as the default of a field that is printed as ``[]``."""
    return []


def shown_dict() -> dict[str, T]:
    """Return a new dict, as the default of a field that is printed as ``{}``."""
    return {}
