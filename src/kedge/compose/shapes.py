"""Checks a model against `kedge.compose.attributes`: every attribute known, of a shape it takes.

An attribute that is not known is a fault that names the nearest one that is. Keys that begin with
``x-`` belong to the user wherever keys are fixed.
"""

import re
from functools import cache
from typing import Final, NamedTuple

from kedge.compose.attributes import ALIASES, SHAPES
from kedge.compose.failures import ModelError, Path, dotted
from kedge.lib.jsontypes import Json, JsonObject

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")
_TOP: Final = frozenset({"services", "networks", "volumes", "secrets", "configs", "models"})
_WORDS: Final = {
    "s": "string",
    "n": "number",
    "i": "integer",
    "b": "boolean",
    "0": "null",
    "[": "list",
    "<": "mapping",
    "@": "mapping",
    "=": "string",
}


class _Field(NamedTuple):
    alternatives: tuple[str, ...]
    required: bool


def check_shape(model: Json, *, partial: bool = False) -> None:
    """Refuse a model with unknown attributes or wrong shapes; ``partial`` asks for none.

    Raises:
        ModelError: With the path of the fault.
    """
    if not isinstance(model, dict):
        raise ModelError((), "top-level object must be a mapping")
    _check(model, ("@project",), (), partial)


@cache
def _fields(name: str) -> dict[str, _Field]:
    fields: dict[str, _Field] = {}
    for word in SHAPES[name].split():
        key, _, shape = word.partition(":")
        fields[key.removesuffix("!")] = _Field(_alternatives(shape), key.endswith("!"))
    return fields


@cache
def _alternatives(shape: str) -> tuple[str, ...]:
    found: list[str] = []
    depth = 0
    for part in re.split(r"([\[\]<>|])", shape):
        if part == "|" and not depth:
            found.append("")
            continue
        depth += (part in "[<") - (part in "]>") if part else 0
        if not found:
            found.append("")
        found[-1] += part
    flat: list[str] = []
    for one in found:
        alias = ALIASES.get(one[1:]) if one.startswith("@") else None
        flat += _alternatives(alias) if alias else (one,)
    return tuple(flat)


def _check(value: Json, alternatives: tuple[str, ...], path: Path, partial: bool) -> None:  # noqa: FBT001 - passed on
    fitting = [one for one in alternatives if _fits(value, one)]
    if not fitting:
        raise ModelError(path, f"{_at(path)} must be a {_wanted(alternatives)}")
    shape = fitting[0]
    if isinstance(value, dict):
        if shape.startswith("@"):
            _check_fields(value, shape[1:], path, partial)
        else:
            inner = _alternatives(shape[1:-1])
            for key, item in value.items():
                if len(path) == 1 and path[0] in _TOP and not _NAME.fullmatch(key):
                    raise ModelError((*path, key), f"{_at(path)}: invalid name '{key}'")
                # Everything in a section has the user's own name, x- or not.
                _check(item, inner, (*path, key), partial)
    elif isinstance(value, list):
        inner = _alternatives(shape[1:-1])
        for index, item in enumerate(value):
            _check(item, inner, (*path, index), partial)
    elif shape.startswith("=") and value not in shape[1:].split("/"):
        allowed = ", ".join(shape[1:].split("/"))
        raise ModelError(path, f"{_at(path)} must be one of {allowed}")


def _check_fields(value: JsonObject, name: str, path: Path, partial: bool) -> None:  # noqa: FBT001 - passed on
    fields = _fields(name)
    for key, item in value.items():
        if key.startswith("x-"):
            continue
        field = fields.get(key)
        if field is None:
            from difflib import get_close_matches  # noqa: PLC0415 - only on a mistake

            near = get_close_matches(key, fields, 1)
            hint = f", did you mean '{near[0]}'?" if near else ""
            where = f"{dotted(path)} " if path else ""
            raise ModelError(
                (*path, key), f"{where}additional properties '{key}' not allowed{hint}"
            )
        _check(item, field.alternatives, (*path, key), partial)
    for key, field in fields.items():
        if field.required and key not in value and not partial:
            raise ModelError(path, f"{dotted(path)} missing property '{key}'")


def _fits(value: Json, shape: str) -> bool:
    kind = shape[0]
    if isinstance(value, dict):
        return kind in "@<"
    if isinstance(value, list):
        return kind == "["
    if value is None:
        return kind == "0"
    if isinstance(value, bool):
        return kind == "b"
    if isinstance(value, str):
        return kind in "s="
    return kind == "n" or (kind == "i" and float(value).is_integer())


def _wanted(alternatives: tuple[str, ...]) -> str:
    words = sorted({_WORDS[one[0]] for one in alternatives})
    # Upstream names the mapping alone where a list of KEY=value would do as well.
    if words == ["list", "mapping"]:
        return "mapping or list"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _at(path: Path) -> str:
    return dotted(path) or "top-level object"
