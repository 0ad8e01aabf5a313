"""The one table between failure classes and HTTP statuses, in both directions.

The server uses it to answer, a client to raise what the engine raised.
"""

from __future__ import annotations

from kedge.errdefs import (
    ConflictError,
    ForbiddenError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    NotModifiedError,
    NotSupportedError,
    SystemFailureError,
    UnauthorizedError,
    UnavailableError,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


INTERNAL_ERROR: Final = 500

FAILURE_STATUS: Final[dict[type[KedgeError], int]] = {
    NotModifiedError: 304,
    InvalidParameterError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    SystemFailureError: INTERNAL_ERROR,
    NotSupportedError: 501,
    UnavailableError: 503,
}

_STATUS_FAILURE: Final = {status: failure for failure, status in FAILURE_STATUS.items()}


def status_of(error: BaseException) -> int:
    """Return the status that answers ``error``: of its nearest listed class, or 500."""
    for failure in type(error).__mro__:
        status = FAILURE_STATUS.get(failure)
        if status is not None:
            return status
    return INTERNAL_ERROR


def failure_of(status: int) -> type[KedgeError]:
    """Return the class a client raises for ``status``.

    A status outside the table counts by its hundreds: a fault of the request or of the engine.
    """
    failure = _STATUS_FAILURE.get(status)
    if failure is not None:
        return failure
    return InvalidParameterError if 400 <= status < INTERNAL_ERROR else SystemFailureError
