"""JSON to wire types as Go's decoder reads it, and back.

Go accepts keys in any case, takes ``null`` for "leave it at zero", and moby's `StrSlice` takes a
string for a list of one. So a document is decoded to plain values, brought into the declared
shape, then converted with msgspec, whose errors carry the JSON path. Unknown keys are ignored.
"""

import json
from collections.abc import Callable
from json.decoder import JSONDecoder
from typing import Final, NoReturn, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from kedge.api.types.wire import STR_SLICE_MARK
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json

T = TypeVar("T")
Shaper: TypeAlias = Callable[[Json], Json]

_WHITESPACE: Final = " \t\r\n"
_encode: Final = msgspec.json.Encoder().encode


def encode(value: object) -> bytes:
    """Return ``value``, a wire object or plain data, as compact JSON."""
    return _encode(value)


def decode(text: bytes, wire_type: type[T]) -> T:
    """Return the one JSON document in ``text`` as ``wire_type``.

    Raises:
        InvalidParameterError: Not JSON, more than one document, or a value of a wrong type;
            texts as moby's `ReadJSON`.
    """
    return convert(parse_json(text), wire_type)


def convert(document: Json, wire_type: type[T]) -> T:
    """Return an already parsed document as ``wire_type``.

    Raises:
        InvalidParameterError: A value has a wrong type; the message names its path.
    """
    try:
        shape = _shaper(wire_type)
        return msgspec.convert(shape(document), wire_type)
    except msgspec.ValidationError as error:
        raise InvalidParameterError(f"invalid JSON: {error}") from None


def parse_json(text: bytes) -> Json:
    """Return the one JSON document in ``text`` as plain values.

    Raises:
        InvalidParameterError: As `decode`.
    """
    decoded = text.decode(errors="replace").strip(_WHITESPACE)
    if not decoded:
        raise InvalidParameterError("invalid JSON: got EOF while reading request body")
    document: Json
    try:
        document, end = _DECODER.raw_decode(decoded)
    except json.JSONDecodeError as error:
        # The scanner stops at the start of an unfinished string, elsewhere at the end.
        cut_short = error.pos >= len(decoded) or error.msg.startswith("Unterminated string")
        reason = "unexpected EOF" if cut_short else f"{error.msg} (byte {error.pos})"
        raise InvalidParameterError(f"invalid JSON: {reason}") from None
    except RecursionError:
        raise InvalidParameterError("invalid JSON: exceeded max depth") from None
    except ValueError as error:
        raise InvalidParameterError(f"invalid JSON: {error}") from None
    if end != len(decoded):
        raise InvalidParameterError("unexpected content after JSON")
    return document


def _refuse_constant(name: str) -> NoReturn:
    # Python's decoder would take NaN and Infinity, which are not JSON.
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


_DECODER: Final = JSONDecoder(parse_constant=_refuse_constant)


# Building one walks the type's whole declaration, so each is built once.
_SHAPERS: Final[dict[object, Shaper]] = {}


def _shaper(wire_type: object) -> Shaper:
    shaper = _SHAPERS.get(wire_type)
    if shaper is None:
        shaper = _SHAPERS[wire_type] = _shaper_of(inspect.type_info(wire_type))
    return shaper


def _shaper_of(info: inspect.Type) -> Shaper:
    match info:
        case inspect.StructType():
            return _struct_shaper(info)
        case inspect.DictType():
            return _dict_shaper(info.value_type)
        case inspect.ListType():
            return _list_shaper(info.item_type)
        case inspect.Metadata():
            marked = info.extra == STR_SLICE_MARK  # pyright: ignore[reportUnknownMemberType]
            return _shape_str_slice if marked else _shaper_of(info.type)
        case inspect.UnionType():
            members = [item for item in info.types if not isinstance(item, inspect.NoneType)]
            if len(members) == 1 and info.includes_none:
                return _nullable(_shaper_of(members[0]))
            return _unchanged
        case _:
            return _unchanged


def _unchanged(value: Json) -> Json:
    return value


def _nullable(shape: Shaper) -> Shaper:
    return lambda value: None if value is None else shape(value)


def _shape_str_slice(value: Json) -> Json:
    return [value] if isinstance(value, str) else value


def _struct_shaper(info: inspect.StructType) -> Shaper:
    fields = {
        item.encode_name.lower(): (
            item.encode_name,
            _shaper(item.type.cls)
            if isinstance(item.type, inspect.StructType)
            else _shaper_of(item.type),
            _takes_null(item.type),
        )
        for item in info.fields
    }

    def shape(value: Json) -> Json:
        if not isinstance(value, dict):
            return value
        shaped: dict[str, Json] = {}
        for key, item in value.items():
            known = fields.get(key.lower())
            if known is None:
                continue
            name, shape_item, takes_null = known
            if item is not None:
                shaped[name] = shape_item(item)
            elif takes_null:
                shaped[name] = None
        return shaped

    return shape


def _dict_shaper(value_type: inspect.Type) -> Shaper:
    shape_item, make_zero = _item_shaper(value_type)

    def shape(value: Json) -> Json:
        if not isinstance(value, dict):
            return value
        return {
            key: make_zero() if item is None else shape_item(item) for key, item in value.items()
        }

    return shape


def _list_shaper(item_type: inspect.Type) -> Shaper:
    shape_item, make_zero = _item_shaper(item_type)

    def shape(value: Json) -> Json:
        if not isinstance(value, list):
            return value
        return [make_zero() if item is None else shape_item(item) for item in value]

    return shape


def _item_shaper(info: inspect.Type) -> tuple[Shaper, Callable[[], Json]]:
    return _shaper_of(info), _zero_of(info)


def _takes_null(info: inspect.Type) -> bool:
    if isinstance(info, inspect.Metadata):
        return _takes_null(info.type)
    return isinstance(info, inspect.UnionType) and info.includes_none


def _zero_of(info: inspect.Type) -> Callable[[], Json]:
    match info:
        case inspect.StructType() | inspect.DictType():
            return dict
        case inspect.ListType():
            return list
        case inspect.StrType():
            return str
        case inspect.BoolType():
            return bool
        case inspect.IntType() | inspect.FloatType():
            return int
        case _:
            return lambda: None
