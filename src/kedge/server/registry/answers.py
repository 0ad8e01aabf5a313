"""Answers of a registry: error bodies, pages, ranges; pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from kedge.registry.failures import STATUSES, DistributionError, ErrorCode
from kedge.server.response import JSON, Response

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_CONTENT_RANGE: Final = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?", re.ASCII)
VERSION_HEADER: Final = ("Docker-Distribution-Api-Version", "registry/2.0")
PAGE_MAX: Final = 10_000


class ByteRange(NamedTuple):
    """A part of a blob."""

    offset: int
    length: int


def error_answer(
    code: ErrorCode,
    message: str,
    *,
    status: int = 0,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Return the error body of the specification, with its code's status unless one is given."""
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return Response(
        status or STATUSES[code], msgspec.json.encode(body), JSON, (VERSION_HEADER, *headers)
    )


def json_answer(value: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return ``value`` as JSON."""
    return Response(200, msgspec.json.encode(value), JSON, (VERSION_HEADER, *headers))


def blob_headers(digest: str) -> tuple[tuple[str, str], ...]:
    """Return what every answer with a blob carries; its bytes never change."""
    return (
        VERSION_HEADER,
        ("Docker-Content-Digest", digest),
        ("Etag", f'"{digest}"'),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "max-age=31536000"),
    )


def parse_page(texts: Sequence[str]) -> int:
    """Return the page size a client asks for with ``n``; -1 for everything.

    Raises:
        DistributionError: It is no number.
    """
    if not texts or not texts[0]:
        return -1
    text = texts[0]
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise DistributionError(
            ErrorCode.PAGINATION_NUMBER_INVALID, f"invalid number of results: n={text[:20]}"
        )
    return min(int(text), PAGE_MAX)


def next_page(path: str, names: Sequence[str], limit: int) -> tuple[tuple[str, str], ...]:
    """Return the header that leads to the next page (RFC 8288), if there may be one."""
    if limit <= 0 or len(names) < limit:
        return ()
    return (("Link", f'<{path}?{urlencode({"n": limit, "last": names[-1]})}>; rel="next"'),)


def parse_range(header: str, size_bytes: int) -> ByteRange | None:
    """Return the one range a client asks for; None when the whole is due.

    Several ranges, other units and malformed headers are ignored, as RFC 9110, 14.2 allows.

    Raises:
        DistributionError: The range lies behind the end, or ends before it begins.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        offset, end = max(size_bytes - int(last), 0), size_bytes
    else:
        offset = int(first)
        end = min(int(last) + 1 if last else size_bytes, size_bytes)
    if offset >= size_bytes or offset >= end:
        raise DistributionError(
            ErrorCode.RANGE_INVALID,
            f"the blob's {size_bytes} bytes have no range {header[:60]}",
            (("Content-Range", f"bytes */{size_bytes}"),),
        )
    return ByteRange(offset, end - offset)


def parse_chunk_start(header: str) -> tuple[int, int] | None:
    """Return first and last byte of an uploaded chunk; None without a header.

    Raises:
        DistributionError: It is malformed.
    """
    if not header:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match.group(2)) < int(match.group(1)) - 1:
        raise DistributionError(
            ErrorCode.BLOB_UPLOAD_INVALID, f"invalid Content-Range: {header[:60]}"
        )
    return int(match.group(1)), int(match.group(2))
