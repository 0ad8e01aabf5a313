"""Progress of long operations as a stream of JSON objects, with failures in-band.

A failure before the first message is an ordinary HTTP error; after it, the status line is out,
and the failure becomes the last message, which clients turn into an error of their own.
"""

from collections.abc import AsyncIterator
from typing import Final

from kedge.api import codec
from kedge.api.types.progress import ProgressMessage, error_message
from kedge.server.failures import describe_failure
from kedge.server.response import StreamResponse

_SEPARATOR: Final = b"\r\n"


async def progress_response(messages: AsyncIterator[ProgressMessage]) -> StreamResponse:
    """Return the stream of ``messages`` once the first has come or failed to."""
    first = await anext(messages, None)
    return StreamResponse(_chunks(first, messages))


async def _chunks(
    first: ProgressMessage | None, messages: AsyncIterator[ProgressMessage]
) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield codec.encode(first) + _SEPARATOR
    try:
        async for message in messages:
            yield codec.encode(message) + _SEPARATOR
    except Exception as error:  # noqa: BLE001
        failure = describe_failure(error)
        yield codec.encode(error_message(failure.message)) + _SEPARATOR
