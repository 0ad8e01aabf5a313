"""Object ids: 64 hexadecimal digits, shown as their first twelve."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


SHORT_LENGTH: Final = 12


def new_id() -> str:
    """Return 256 random bits as 64 lower-case hexadecimal digits.

    Docker refuses ids whose short form is all digits, because they could be taken for numbers;
    so does this.
    """
    while True:
        candidate = os.urandom(32).hex()
        if not candidate[:SHORT_LENGTH].isdigit():
            return candidate


def short_id(object_id: str) -> str:
    """Return the twelve digits people see, without an algorithm prefix."""
    return object_id.rpartition(":")[2][:SHORT_LENGTH]
