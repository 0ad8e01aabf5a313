"""PAX extended header records, decoded and encoded; pure functions, no I/O.

Vocabulary of POSIX.1-2017 pax ("pax Extended Header"), with the vendor records of star
(``SCHILY.``), bsdtar (``LIBARCHIVE.``) and GNU tar (``GNU.sparse.``).
"""

from collections.abc import Mapping
from typing import Final

from kedge.errdefs import InvalidParameterError

PAX_XATTR: Final = b"SCHILY.xattr."
"""Prefix of the records that carry extended attributes, values raw."""
PAX_XATTR_LIBARCHIVE: Final = b"LIBARCHIVE.xattr."
"""Prefix bsdtar uses: percent-encoded names, base64 values."""


def decode_pax(payload: bytes) -> dict[bytes, bytes]:
    """Return the records of a PAX extended header; a later record wins over an earlier one.

    GNU sparse 0.0 repeats ``GNU.sparse.offset`` and ``GNU.sparse.numbytes``; they come back
    joined with commas as the ``GNU.sparse.map`` of version 0.1.

    Raises:
        InvalidParameterError: A record's length, separator or name is damaged.
    """
    records: dict[bytes, bytes] = {}
    sparse_map: list[bytes] = []
    position = 0
    while position < len(payload):
        space = payload.find(b" ", position, position + 20)
        length = payload[position : max(space, position)]
        if not length.isdigit():
            raise InvalidParameterError("damaged tar header: a pax record has no length")
        end = position + int(length)
        key, separator, value = payload[space + 1 : end - 1].partition(b"=")
        if end > len(payload) or payload[end - 1 : end] != b"\n" or not separator or not key:
            raise InvalidParameterError("damaged tar header: a pax record is malformed")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse_map.append(value)
        else:
            records[key] = value
        position = end
    if sparse_map:
        records[b"GNU.sparse.map"] = b",".join(sparse_map)
    return records


def encode_pax(records: Mapping[bytes, bytes]) -> bytes:
    """Return the payload of a PAX extended header, records in the mapping's order."""
    return b"".join(_encode_record(key, value) for key, value in records.items())


def _encode_record(key: bytes, value: bytes) -> bytes:
    # The length counts its own digits.
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body
