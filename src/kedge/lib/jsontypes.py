"""The type of a decoded JSON document."""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias


Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, Json]
