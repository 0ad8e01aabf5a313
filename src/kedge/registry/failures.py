"""What a registry refuses, in the words of the distribution specification ("Error Codes")."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kedge.errdefs import KedgeError


class ErrorCode(StrEnum):
    """The codes clients match on."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    RANGE_INVALID = "RANGE_INVALID"
    SIZE_INVALID = "SIZE_INVALID"
    TAG_INVALID = "TAG_INVALID"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"
    UNSUPPORTED = "UNSUPPORTED"


STATUSES: Final[Mapping[ErrorCode, int]] = MappingProxyType(
    {
        ErrorCode.BLOB_UNKNOWN: 404,
        ErrorCode.BLOB_UPLOAD_INVALID: 400,
        ErrorCode.BLOB_UPLOAD_UNKNOWN: 404,
        ErrorCode.DENIED: 403,
        ErrorCode.DIGEST_INVALID: 400,
        ErrorCode.MANIFEST_BLOB_UNKNOWN: 400,
        ErrorCode.MANIFEST_INVALID: 400,
        ErrorCode.MANIFEST_UNKNOWN: 404,
        ErrorCode.NAME_INVALID: 400,
        ErrorCode.NAME_UNKNOWN: 404,
        ErrorCode.PAGINATION_NUMBER_INVALID: 400,
        ErrorCode.RANGE_INVALID: 416,
        ErrorCode.SIZE_INVALID: 413,
        ErrorCode.TAG_INVALID: 400,
        ErrorCode.UNAUTHORIZED: 401,
        ErrorCode.UNAVAILABLE: 503,
        ErrorCode.UNKNOWN: 500,
        ErrorCode.UNSUPPORTED: 405,
    }
)


class DistributionError(KedgeError):
    """A request that the registry refuses.

    Attributes:
        code: What clients match on; its status is in `STATUSES`.
        headers: What the answer carries besides, such as a challenge.
    """

    def __init__(
        self, code: ErrorCode, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Refuse with ``code`` and a line for a person."""
        super().__init__(message)
        self.code = code
        self.headers = headers
