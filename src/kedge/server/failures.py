"""From any exception a handler raises to the status and the one line a client gets."""

import logging
from typing import Final, NamedTuple

from kedge.api.errors import INTERNAL_ERROR, status_of
from kedge.errdefs import KedgeError
from kedge.server.head import ProtocolError

_logger: Final = logging.getLogger(__name__)


class Failure(NamedTuple):
    """What to tell a client."""

    status: int
    message: str


def describe_failure(error: Exception) -> Failure:
    """Return what to tell; a failure nobody foresaw is logged with its traceback, too."""
    match error:
        case KedgeError():
            return Failure(status_of(error), str(error))
        case ProtocolError():
            return Failure(error.status, error.message)
        case _:
            _logger.error("unforeseen failure", exc_info=error)
            return Failure(INTERNAL_ERROR, str(error) or type(error).__name__)
