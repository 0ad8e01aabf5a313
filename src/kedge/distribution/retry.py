"""When to try again, and how long to wait before.

Back-off doubles from half a second, spread so that many clients do not come back together; a
server's ``Retry-After`` wins if a person would wait that long.
"""

import random
from collections.abc import Callable
from typing import Final, TypeVar

from kedge.distribution.failures import ConnectionFailedError, RegistryRefusedError
from kedge.errdefs import KedgeError

_FIRST_DELAY_S: Final = 0.5
_MAX_DELAY_S: Final = 20.0
_MAX_RETRY_AFTER_S: Final = 60.0
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class Retries:
    """The attempts at one thing; not thread-safe."""

    def __init__(
        self,
        *,
        max_attempts: int,
        pause: Callable[[float], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Begin counting.

        Args:
            max_attempts: How many failures in a row are final.
            pause: Waits that many seconds; raises when the work is cancelled.
            jitter: A number from 0 to 1 for each delay.
        """
        self._max_attempts = max_attempts
        self._pause = pause
        self._jitter = jitter
        self._failures = 0

    def run(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns, trying again while its failures may pass."""
        while True:
            try:
                return attempt()
            except KedgeError as error:
                self.failed(error)

    def failed(self, error: KedgeError) -> None:
        """Wait before the next attempt.

        Raises:
            KedgeError: ``error`` itself, when another attempt makes no sense.
        """
        self._failures += 1
        if not is_transient(error) or self._failures >= self._max_attempts:
            raise error
        delay = min(_FIRST_DELAY_S * 2 ** (self._failures - 1), _MAX_DELAY_S)
        delay *= 0.5 + self._jitter()
        if isinstance(error, RegistryRefusedError) and error.problem.retry_after_s is not None:
            if error.problem.retry_after_s > _MAX_RETRY_AFTER_S:
                raise error
            delay = error.problem.retry_after_s
        self._pause(delay)

    def progressed(self) -> None:
        """Begin counting anew: the last attempt got something done."""
        self._failures = 0


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may work a moment later."""
    if isinstance(error, ConnectionFailedError):
        return error.may_retry
    return isinstance(error, RegistryRefusedError) and error.problem.status in _TRANSIENT
