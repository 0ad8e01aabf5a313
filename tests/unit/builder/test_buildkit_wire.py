"""proto3 on the wire: known bytes, every message back as it was, damage as one failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.builder.buildkit import messages
from kedge.builder.buildkit.wire import Field, Kind, Many, Record, Schema, decode, encode
from kedge.errdefs import InvalidParameterError

SAMPLE = Schema(
    "Sample",
    {
        1: Field("name", Kind.STRING),
        2: Field("count", Kind.INTEGER),
        3: Field("tags", Kind.STRING, Many.LIST),
        4: Field("labels", Kind.STRING, Many.MAP),
        5: Field("data", Kind.BYTES),
        6: Field("on", Kind.BOOLEAN),
        7: Field("child", Kind.MESSAGE, schema=messages.TIMESTAMP),
        300: Field("numbers", Kind.INTEGER, Many.LIST),
    },
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("record", "data"),
    [
        # From the encoding guide of Protocol Buffers.
        ({"count": 150}, b"\x10\x96\x01"),
        ({"name": "testing"}, b"\x0a\x07testing"),
        ({"count": -2}, b"\x10\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ({"labels": {"a": "b"}}, b"\x22\x06\x0a\x01a\x12\x01b"),
        ({"child": {}}, b"\x3a\x00"),
    ],
)
def test_the_bytes_are_the_encoding_s(record: Record, data: bytes) -> None:
    assert encode(SAMPLE, record) == data
    assert decode(SAMPLE, data) == record


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(),
            "count": NUMBERS,
            "tags": st.lists(st.text(), min_size=1),
            "labels": st.dictionaries(st.text(), st.text(), min_size=1),
            "data": st.binary(),
            "on": st.booleans(),
            "child": st.fixed_dictionaries({}, optional={"seconds": NUMBERS}),
            "numbers": st.lists(NUMBERS, min_size=1),
        },
    )
)
def test_what_is_encoded_comes_back(record: Record) -> None:
    assert decode(SAMPLE, encode(SAMPLE, record)) == record


def test_packed_numbers_are_read_too() -> None:
    assert decode(SAMPLE, b"\xe2\x12\x03\x01\x96\x01") == {"numbers": [1, 150]}


def test_an_unknown_field_is_skipped() -> None:
    data = b"\x78\x01" + b"\x82\x01\x02hi" + b"\x0a\x01x"
    assert decode(SAMPLE, data) == {"name": "x"}


@given(st.binary(max_size=200))
def test_damage_is_one_failure(data: bytes) -> None:
    try:
        found = decode(messages.STATUS_RESPONSE, data)
    except InvalidParameterError:
        return
    assert set(found) <= {each.name for each in messages.STATUS_RESPONSE.fields.values()}


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x10\x96", b"\x0b", b"\x08\x01\x0a"])
def test_a_message_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameterError):
        decode(SAMPLE, data)


@pytest.mark.parametrize("record", [{"other": 1}, {"name": 1}, {"child": "x"}])
def test_what_a_schema_does_not_hold_is_refused(record: Record) -> None:
    with pytest.raises(InvalidParameterError):
        encode(SAMPLE, record)
