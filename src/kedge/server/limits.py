"""How much a client may send and how slowly; every bound of the HTTP server in one place."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Sizes in bytes, times in seconds.

    Attributes:
        head_bytes: Request line and headers together.
        header_count: Number of header lines.
        json_bytes: A body that is read as a whole.
        buffer_bytes: What is kept of a body, of pipelined requests or of hijacked input before
            the server stops reading from the client.
        write_buffer_bytes: Unsent output after which a response waits for the client.
        drain_bytes: Unread body that is skipped to keep a connection alive.
        head_timeout_s: From the first byte of a request to the end of its headers.
        json_timeout_s: For a body that is read as a whole.
        linger_s: How long a refused client may go on sending before the connection is cut.
        gone_check_s: How often a half-closed client is checked for being gone.
    """

    head_bytes: int = 256 * 1024
    header_count: int = 200
    json_bytes: int = 1024 * 1024
    buffer_bytes: int = 256 * 1024
    write_buffer_bytes: int = 256 * 1024
    drain_bytes: int = 256 * 1024
    head_timeout_s: float = 60.0
    json_timeout_s: float = 60.0
    linger_s: float = 2.0
    gone_check_s: float = 5.0


DEFAULT_LIMITS = Limits()
