"""How a container's output is kept and where it is sent, as the engine tells the shim.

Everything that needs the container's record, a template or a name lookup has been worked out by the
engine (`kedge.engine.logoptions`): the shim gets plain values.
"""

from typing import Final, NamedTuple

from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci import fields

DEFAULT_LOG_MAX_SIZE: Final = 20 * 1000 * 1000
DEFAULT_LOG_MAX_FILES: Final = 5

SYSLOG: Final = "syslog"
JOURNALD: Final = "journald"


class LogForward(NamedTuple):
    """A logging service of the host that gets each line."""

    driver: str
    """`SYSLOG` or `JOURNALD`."""
    network: str
    """``unix``, ``unixgram``, ``tcp`` or ``udp``."""
    address: str
    """A path, or a numeric address and a port as ``192.0.2.1:514`` or ``[2001:db8::1]:514``."""
    tag: str = ""
    format: str = ""
    """Of syslog: empty for the local form, ``rfc3164``, ``rfc5424`` or ``rfc5424micro``."""
    facility: int = 3
    hostname: str = ""
    """The host's name; the one of the shim may be the container's."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of journald: further fields of each message."""


class LogConfig(NamedTuple):
    """Where the container's output is kept, in Docker's json-file form.

    The default cap is 5 files of 20 MB each, because an uncapped log fills the disk one day.
    """

    path: str
    """The file; empty to keep none."""
    max_size: int = DEFAULT_LOG_MAX_SIZE
    """Bytes after which the file is rotated; 0 for never."""
    max_files: int = DEFAULT_LOG_MAX_FILES
    """How many files are kept, the current one included."""
    compress: bool = False
    """Whether files that are not written any more are turned into gzip."""
    attrs: str = ""
    """A JSON object that each line carries; empty for none."""
    forward: LogForward | None = None
    buffer_size: int = 0
    """Bytes that may wait for a slow service before lines are dropped; 0 lets the program wait."""


def encode_log(config: LogConfig) -> JsonObject:
    """Return ``config`` as a JSON object; `parse_log` is the inverse."""
    forward: Json = None
    if config.forward is not None:
        forward = dict(config.forward._asdict())
        forward["labels"] = dict(config.forward.labels)
    return {**config._asdict(), "forward": forward}


def parse_log(document: JsonObject) -> LogConfig:
    """Return the configuration in ``document``.

    Raises:
        InvalidParameterError: A key is missing or of the wrong type.
    """
    where = "create.log"
    forward = fields.optional_object(document, "forward", where)
    return LogConfig(
        path=fields.require_string(document, "path", where),
        max_size=fields.require_integer(document, "max_size", where),
        max_files=fields.require_integer(document, "max_files", where),
        compress=bool(fields.optional_boolean(document, "compress", where)),
        attrs=fields.require_string(document, "attrs", where),
        forward=None if forward is None else _parse_forward(forward),
        buffer_size=fields.require_integer(document, "buffer_size", where),
    )


def _parse_forward(document: JsonObject) -> LogForward:
    where = "create.log.forward"
    labels = fields.optional_object(document, "labels", where) or {}
    return LogForward(
        driver=fields.require_string(document, "driver", where),
        network=fields.require_string(document, "network", where),
        address=fields.require_string(document, "address", where),
        tag=fields.require_string(document, "tag", where),
        format=fields.require_string(document, "format", where),
        facility=fields.require_integer(document, "facility", where),
        hostname=fields.require_string(document, "hostname", where),
        labels=tuple((key, str(value)) for key, value in labels.items()),
    )
