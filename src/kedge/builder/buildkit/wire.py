"""proto3 on the wire: messages as plain dictionaries, described by tables of fields.

Source: the Protocol Buffers encoding guide. Only what BuildKit's messages need: varints, strings,
bytes, messages, repeated fields and maps. A field that is absent is absent from the dictionary;
a field that is unknown is skipped, as the encoding's forward compatibility asks for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias

from kedge.errdefs import InvalidParameterError

Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value]"
Record: TypeAlias = dict[str, Value]


class Kind(IntEnum):
    """What a field holds."""

    INTEGER = 1
    """Any signed or unsigned varint; enumerations too."""
    BOOLEAN = 2
    STRING = 3
    BYTES = 4
    MESSAGE = 5


class Many(IntEnum):
    """How many values a field has."""

    ONE = 0
    LIST = 1
    MAP = 2
    """From strings; a dictionary."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    kind: Kind
    many: Many = Many.ONE
    schema: "Schema | None" = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A message: its fields by number."""

    name: str
    fields: Mapping[int, Field] = field(default_factory=dict[int, Field])


# Looking a member up in its enumeration costs more than everything else that is done for a field.
_ONE: Final = Many.ONE
_INTEGER: Final = Kind.INTEGER
_BOOLEAN: Final = Kind.BOOLEAN
_STRING: Final = Kind.STRING
_MESSAGE: Final = Kind.MESSAGE
_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_SIGN: Final = 1 << 63
_WHOLE: Final = 1 << 64
_MORE: Final = 0x80
"""Set in every byte of a varint but the last."""
_LONGEST: Final = 10
"""Bytes of a varint."""
_DEEPEST: Final = 32


def encode(schema: Schema, record: Mapping[str, Value]) -> bytes:
    """Return ``record`` as the bytes of a message.

    Raises:
        InvalidParameterError: It holds a field the schema does not have, or of another kind.
    """
    known = {each.name: number for number, each in schema.fields.items()}
    out = bytearray()
    for name, value in record.items():
        number = known.get(name)
        if number is None:
            raise InvalidParameterError(f"{schema.name} has no field {name}")
        each = schema.fields[number]
        for item in _items(each, value):
            _put(out, schema, number, each, item)
    return bytes(out)


def decode(schema: Schema, data: bytes, depth: int = 0) -> Record:
    """Return the message in ``data``.

    Raises:
        InvalidParameterError: The bytes are no such message.
    """
    if depth > _DEEPEST:
        raise InvalidParameterError(f"{schema.name}: messages nested too deep")
    record: Record = {}
    for number, wire, raw in _split(schema, data):
        each = schema.fields.get(number)
        if each is None:
            continue
        if each.many is _ONE:
            record[each.name] = _one(schema, each, wire, raw, depth)
        elif each.many is Many.MAP:
            found = record.setdefault(each.name, {})
            key, value = _entry(each, _bytes_of(schema, each, wire, raw), depth)
            if isinstance(found, dict):
                found[key] = value
        else:
            found = record.setdefault(each.name, [])
            if isinstance(found, list):
                found += _values(schema, each, wire, raw, depth)
    return record


def _items(each: Field, value: Value) -> list[Value]:
    match each.many:
        case Many.MAP:
            entries = value if isinstance(value, dict) else {}
            return [{"key": key, "value": item} for key, item in entries.items()]
        case Many.LIST:
            return list(value) if isinstance(value, list) else []
        case Many.ONE:
            return [value]


def _put(out: bytearray, schema: Schema, number: int, each: Field, item: Value) -> None:
    if each.many is Many.MAP:
        single = Field("value", each.kind, schema=each.schema)
        entry = Schema(each.name, {1: Field("key", Kind.STRING), 2: single})
        data = encode(entry, item) if isinstance(item, dict) else b""
    elif each.kind in (Kind.INTEGER, Kind.BOOLEAN) and isinstance(item, int):
        _put_varint(out, number << 3 | _VARINT)
        _put_varint(out, item)
        return
    elif each.kind is Kind.STRING and isinstance(item, str):
        data = item.encode(errors="surrogateescape")
    elif each.kind is Kind.BYTES and isinstance(item, bytes):
        data = item
    elif each.kind is Kind.MESSAGE and isinstance(item, dict) and each.schema is not None:
        data = encode(each.schema, item)
    else:
        raise InvalidParameterError(f"{schema.name}.{each.name} cannot hold {type(item).__name__}")
    _put_varint(out, number << 3 | _LENGTH)
    _put_varint(out, len(data))
    out += data


def _put_varint(out: bytearray, value: int) -> None:
    value &= _WHOLE - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _split(schema: Schema, data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield number, wire type and raw value of each field."""
    position, end = 0, len(data)
    while position < end:
        tag = data[position]
        if tag < _MORE:
            # What nearly every tag is; a context of many files has a few for each.
            position += 1
        else:
            tag, position = _varint(schema, data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(schema, data, position)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            length, position = _varint(schema, data, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise InvalidParameterError(f"{schema.name}: wire type {wire} is not known")
        if position + length > end:
            raise InvalidParameterError(f"{schema.name}: the message is cut short")
        yield number, wire, data[position : position + length]
        position += length


def _varint(schema: Schema, data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[position : position + _LONGEST]:
        position += 1
        if byte < _MORE:
            return (value | byte << shift) & (_WHOLE - 1), position
        value |= (byte & 0x7F) << shift
        shift += 7
    raise InvalidParameterError(f"{schema.name}: a number is cut short")


def _one(schema: Schema, each: Field, wire: int, raw: int | bytes, depth: int) -> Value:
    kind = each.kind
    if kind is _INTEGER or kind is _BOOLEAN:
        if wire != _VARINT or not isinstance(raw, int):
            raise InvalidParameterError(f"{schema.name}.{each.name} is no number")
        return bool(raw) if kind is _BOOLEAN else _signed(raw)
    data = _bytes_of(schema, each, wire, raw)
    if kind is _STRING:
        return data.decode(errors="surrogateescape")
    if kind is _MESSAGE and each.schema is not None:
        return decode(each.schema, data, depth + 1)
    return data


def _values(schema: Schema, each: Field, wire: int, raw: int | bytes, depth: int) -> list[Value]:
    if each.kind in (Kind.INTEGER, Kind.BOOLEAN) and isinstance(raw, bytes):
        # Numbers of a list come packed.
        found: list[Value] = []
        position = 0
        while position < len(raw):
            number, position = _varint(schema, raw, position)
            found.append(_signed(number))
        return found
    return [_one(schema, each, wire, raw, depth)]


def _entry(each: Field, data: bytes, depth: int) -> tuple[str, Value]:
    single = Field("value", each.kind, schema=each.schema)
    entry = decode(Schema(each.name, {1: Field("key", Kind.STRING), 2: single}), data, depth + 1)
    empty: dict[Kind, Value] = {
        Kind.STRING: "",
        Kind.BYTES: b"",
        Kind.INTEGER: 0,
        Kind.BOOLEAN: False,
    }
    return text(entry, "key"), entry.get("value", empty.get(each.kind, {}))


def _bytes_of(schema: Schema, each: Field, wire: int, raw: int | bytes) -> bytes:
    if wire != _LENGTH or not isinstance(raw, bytes):
        raise InvalidParameterError(f"{schema.name}.{each.name} is a number")
    return raw


def _signed(value: int) -> int:
    return value - _WHOLE if value & _SIGN else value


def text(record: Mapping[str, Value], name: str) -> str:
    """Return a string; empty where it is absent."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


def blob(record: Mapping[str, Value], name: str) -> bytes:
    """Return bytes; empty where they are absent."""
    value = record.get(name)
    return value if isinstance(value, bytes) else b""


def number(record: Mapping[str, Value], name: str) -> int:
    """Return a number; 0 where it is absent."""
    value = record.get(name)
    return value if isinstance(value, int) else 0


def part(record: Mapping[str, Value], name: str) -> Record:
    """Return a message or map; empty where it is absent."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def parts(record: Mapping[str, Value], name: str) -> list[Record]:
    """Return a list of messages."""
    value = record.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(record: Mapping[str, Value], name: str) -> dict[str, str]:
    """Return a map of strings."""
    return {key: value for key, value in part(record, name).items() if isinstance(value, str)}


def strings(record: Mapping[str, Value], name: str) -> list[str]:
    """Return a list of strings."""
    value = record.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
