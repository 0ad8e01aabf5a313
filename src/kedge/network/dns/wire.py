"""DNS messages as bytes: questions in, answers out. Pure; RFC 1035, 2782, 3596 and 6891.

Only what a name server for containers says itself is encoded (A, AAAA, PTR, SRV); what others
answer is passed on as it came. Answers are compressed against the question alone.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

TYPE_A: Final = 1
TYPE_SOA: Final = 6
TYPE_PTR: Final = 12
TYPE_AAAA: Final = 28
TYPE_SRV: Final = 33
TYPE_ANY: Final = 255
TYPE_OPT: Final = 41
CLASS_IN: Final = 1

NO_ERROR: Final = 0
FORMAT_ERROR: Final = 1
SERVER_FAILURE: Final = 2
NAME_ERROR: Final = 3
NOT_IMPLEMENTED: Final = 4
REFUSED: Final = 5

HEADER_BYTES: Final = 12
UDP_BYTES: Final = 512
"""What a client takes in one datagram unless it says otherwise."""
UDP_BYTES_MAX: Final = 1232
"""More would be fragmented somewhere; the size of DNS flag day 2020."""
STREAM_BYTES_MAX: Final = 65535

_HEADER: Final = struct.Struct("!HHHHHH")
_QUESTION_TAIL: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_SRV: Final = struct.Struct("!HHH")
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_AUTHORITATIVE: Final = 0x0400
_TRUNCATED: Final = 0x0200
_RECURSION_DESIRED: Final = 0x0100
_RECURSION_AVAILABLE: Final = 0x0080
_POINTER_TO_QUESTION: Final = b"\xc0\x0c"
_LABEL_BYTES_MAX: Final = 63
_NAME_BYTES_MAX: Final = 255


class MalformedError(ValueError):
    """Bytes that are no question anybody could answer."""


class Query(NamedTuple):
    """One question."""

    id: int
    flags: int
    name: str
    """Lower case, without the dot at the end; bytes that are not ASCII as Latin-1."""
    type: int
    klass: int
    question: bytes
    """The question section as it came, in the client's own letter case."""
    has_edns: bool
    size: int
    """The largest answer the client takes in a datagram."""

    @property
    def opcode(self) -> int:
        """0 for an ordinary question."""
        return (self.flags & _OPCODE) >> 11


class Record(NamedTuple):
    """One answer to a question; its name is the question's."""

    type: int
    ttl_s: int
    data: bytes


def parse_query(message: bytes) -> Query:
    """Return the question in ``message``.

    Raises:
        MalformedError: Not exactly one question, or not DNS at all.
    """
    if len(message) < HEADER_BYTES:
        raise MalformedError("shorter than a header")
    number, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if flags & _RESPONSE or questions != 1:
        raise MalformedError("not one question")
    name, end = _parse_name(message, HEADER_BYTES)
    if end + _QUESTION_TAIL.size > len(message):
        raise MalformedError("the question is cut off")
    kind, klass = _QUESTION_TAIL.unpack_from(message, end)
    end += _QUESTION_TAIL.size
    edns = 0
    if additionals and not answers and not authorities:
        edns = _find_edns_size(message, end)
    return Query(
        id=number,
        flags=flags,
        name=name,
        type=kind,
        klass=klass,
        question=message[HEADER_BYTES:end],
        has_edns=edns > 0,
        size=max(UDP_BYTES, min(edns, UDP_BYTES_MAX)),
    )


def make_answer(
    query: Query, records: Sequence[Record], *, code: int = NO_ERROR, limit: int = STREAM_BYTES_MAX
) -> bytes:
    """Return the message that answers ``query``.

    What does not fit into ``limit`` is left out whole, and the message says that it is cut, so
    that the client asks again over TCP.
    """
    edns = _EDNS if query.has_edns else b""
    parts: list[bytes] = []
    room = limit - HEADER_BYTES - len(query.question) - len(edns)
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | code
    flags |= query.flags & (_OPCODE | _RECURSION_DESIRED)
    for record in records:
        fixed = _RECORD.pack(record.type, CLASS_IN, record.ttl_s, len(record.data))
        part = _POINTER_TO_QUESTION + fixed + record.data
        room -= len(part)
        if room < 0:
            flags |= _TRUNCATED
            break
        parts.append(part)
    header = _HEADER.pack(query.id, flags, 1, len(parts), 0, 1 if edns else 0)
    return b"".join((header, query.question, *parts, edns))


def make_failure(message: bytes, code: int) -> bytes:
    """Return an answer to a message that cannot be understood; empty when not even that is due."""
    if len(message) < HEADER_BYTES:
        return b""
    number, flags, *_counts = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        # Answering an answer would make two servers talk for ever.
        return b""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (flags & (_OPCODE | _RECURSION_DESIRED)) | code
    return _HEADER.pack(number, flags, 0, 0, 0, 0)


def make_question(name: str, kind: int, *, number: int, size: int = 0) -> bytes:
    """Return a message that asks for a name; with a ``size``, one that offers EDNS."""
    edns = _RECORD_HEAD_OPT.pack(0, TYPE_OPT, size, 0, 0) if size else b""
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 1 if size else 0)
    return header + encode_name(name) + _QUESTION_TAIL.pack(kind, CLASS_IN) + edns


def encode_name(name: str) -> bytes:
    """Return a name as labels, without compression.

    Raises:
        MalformedError: A label is empty or too long.
    """
    labels = name.encode("latin-1").split(b".") if name else []
    if any(not 0 < len(label) <= _LABEL_BYTES_MAX for label in labels):
        raise MalformedError(f"no such name is possible: {name!r}")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(encoded) > _NAME_BYTES_MAX:
        raise MalformedError(f"the name is too long: {name!r}")
    return encoded


def encode_srv(port: int, target: str) -> bytes:
    """Return the data of an SRV record, with equal priority and weight for all."""
    return _SRV.pack(0, 1, port) + encode_name(target)


def answer_code(message: bytes) -> int:
    """Return the response code of an answer."""
    return message[3] & 0x0F


def is_answer_to(message: bytes, query: Query, number: int) -> bool:
    """Tell whether ``message`` answers the question, asked with the id ``number``.

    The letter case must be the client's own, so that a stranger has more to guess.
    """
    end = HEADER_BYTES + len(query.question)
    return (
        len(message) >= end
        and message[:2] == number.to_bytes(2, "big")
        and bool(message[2] & 0x80)
        and message[HEADER_BYTES:end] == query.question
    )


def _parse_name(message: bytes, offset: int) -> tuple[str, int]:
    """Return a name of the question section, where nothing can point back to yet."""
    labels: list[str] = []
    start = offset
    while True:
        if offset >= len(message):
            raise MalformedError("the name is cut off")
        length = message[offset]
        offset += 1
        if length == 0:
            break
        if length > _LABEL_BYTES_MAX or offset + length > len(message):
            raise MalformedError("a label that is none")
        label = message[offset : offset + length]
        if b"." in label:
            raise MalformedError("a dot within a label")
        labels.append(label.decode("latin-1"))
        offset += length
        if offset - start > _NAME_BYTES_MAX:
            raise MalformedError("the name is too long")
    return ".".join(labels).lower(), offset


_RECORD_HEAD_OPT: Final = struct.Struct("!BHHIH")
_EDNS: Final = _RECORD_HEAD_OPT.pack(0, TYPE_OPT, UDP_BYTES_MAX, 0, 0)


def _find_edns_size(message: bytes, offset: int) -> int:
    """Return what the client takes in a datagram, 0 without EDNS; it is the first record."""
    if len(message) < offset + _RECORD_HEAD_OPT.size or message[offset] != 0:
        return 0
    _root, kind, size, _flags, _length = _RECORD_HEAD_OPT.unpack_from(message, offset)
    return max(size, 1) if kind == TYPE_OPT else 0
