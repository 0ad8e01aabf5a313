import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.linux.netlink import (
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_ERROR,
    Message,
    NetlinkError,
    Request,
    attribute,
    attribute_be32,
    attribute_string,
    attribute_text,
    attribute_u8,
    attribute_u32,
    build_message,
    iter_attributes,
    nested,
    parse_attributes,
    parse_error,
    parse_messages,
)

kinds = st.integers(min_value=0, max_value=0x3FFF)
payloads = st.binary(max_size=200)


@given(st.lists(st.tuples(kinds, payloads), max_size=20))
def test_attributes_come_back_as_they_were(items: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, payload) for kind, payload in items)
    assert len(packed) % 4 == 0
    assert list(iter_attributes(packed)) == items


@given(st.lists(st.tuples(kinds, payloads), max_size=8), kinds)
def test_nested_attributes_come_back(items: list[tuple[int, bytes]], kind: int) -> None:
    packed = nested(kind, *(attribute(*item) for item in items))
    ((found, inner),) = iter_attributes(packed)
    assert found == kind
    assert list(iter_attributes(inner)) == items


requests = st.builds(
    Request,
    type=st.integers(min_value=16, max_value=0xFFFF),
    flags=st.integers(min_value=0, max_value=0xFFFF),
    body=payloads,
    what=st.just("test"),
)


@given(st.lists(requests, max_size=10), st.integers(min_value=0, max_value=0xFFFF0000))
def test_messages_come_back_as_they_were(batch: list[Request], first: int) -> None:
    data = b"".join(build_message(request, first + n) for n, request in enumerate(batch))
    found = list(parse_messages(data))
    assert [(m.type, m.sequence, m.body) for m in found] == [
        (request.type, first + n, request.body) for n, request in enumerate(batch)
    ]
    assert all(m.flags == request.flags | 1 for m, request in zip(found, batch, strict=True))


@given(st.binary(max_size=200))
def test_no_input_breaks_the_parsers_otherwise_than_by_value_error(data: bytes) -> None:
    for parse in (iter_attributes, parse_messages):
        with contextlib.suppress(ValueError):
            assert sum(1 for _ in parse(data)) <= len(data) // 4


def test_a_length_past_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="attribute at byte 4 has bad length 9"):
        list(iter_attributes(attribute(1, b"") + struct.pack("=HH", 9, 1)))
    with pytest.raises(ValueError, match="message at byte 0 has bad length 8"):
        list(parse_messages(struct.pack("=IHHII", 8, 1, 0, 0, 0)))


def test_scalars() -> None:
    packed = (
        attribute_u8(1, 7)
        + attribute_u32(2, 0x01020304)
        + attribute_be32(3, -100)
        + attribute_string(4, "eth0")
    )
    values = parse_attributes(packed)
    assert values[1] == b"\x07"
    assert values[2] == struct.pack("=I", 0x01020304)
    assert values[3] == b"\xff\xff\xff\x9c"
    assert attribute_text(values[4]) == "eth0"


def test_an_acknowledgement_is_errno_zero() -> None:
    message = Message(NLMSG_ERROR, 0, 1, struct.pack("=i", 0) + bytes(16))
    assert parse_error(message) == (0, "")


@pytest.mark.parametrize("is_capped", [True, False])
def test_the_kernels_explanation_is_found(*, is_capped: bool) -> None:
    original = build_message(Request(16, 0, b"12345", "x"), 1)
    echoed = original[:16] if is_capped else original
    body = struct.pack("=i", -errno.EINVAL) + echoed + attribute_string(1, "Invalid thing.")
    flags = NLM_F_ACK_TLVS | (NLM_F_CAPPED if is_capped else 0)
    assert parse_error(Message(NLMSG_ERROR, flags, 1, body)) == (errno.EINVAL, "Invalid thing")


def test_an_error_names_its_request() -> None:
    error = NetlinkError(errno.EEXIST, "create link kedge0", "name taken")
    assert error.errno == errno.EEXIST
    assert error.strerror == "create link kedge0: file exists (name taken)"
