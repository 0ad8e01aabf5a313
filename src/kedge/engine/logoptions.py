"""``--log-driver`` and ``--log-opt``: which there are, and what each option means. Pure.

Names, defaults and texts are Docker's. Values are checked when the container is created, where
dockerd waits for its start, so that a mistake is met by the one who made it.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.units import parse_ram, parse_size
from kedge.shim.logconfig import DEFAULT_LOG_MAX_FILES, DEFAULT_LOG_MAX_SIZE

JSON_FILE: Final = "json-file"
LOCAL: Final = "local"
NONE: Final = "none"
SYSLOG: Final = "syslog"
JOURNALD: Final = "journald"

LOG_DRIVERS: Final = (JOURNALD, JSON_FILE, LOCAL, NONE, SYSLOG)

_FILE: Final = frozenset({"max-size", "max-file", "compress"})
_EXTRA: Final = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_TLS: Final = frozenset(f"syslog-tls-{name}" for name in ("ca-cert", "cert", "key", "skip-verify"))
_OPTIONS: Final = {
    JSON_FILE: _FILE | _EXTRA,
    LOCAL: _FILE,
    SYSLOG: _EXTRA | _TLS | {"syslog-address", "syslog-facility", "syslog-format"},
    JOURNALD: _EXTRA,
}
_EVERY_DRIVER: Final = frozenset(
    {
        "mode", "max-buffer-size",
        "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress",
    }
)  # fmt: skip
_UNKNOWN: Final = {
    LOCAL: "unknown log opt '{0}' for log-driver local",
}
_SCHEMES: Final = ("unix", "unixgram", "udp", "tcp")
_FORMATS: Final = ("", "rfc3164", "rfc5424", "rfc5424micro")
# The numbers are those of RFC 5424, section 6.2.1.
_FACILITY_NAMES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
)  # fmt: skip
_FACILITIES: Final = {name: number for number, name in enumerate(_FACILITY_NAMES)} | {
    f"local{number}": 16 + number for number in range(8)
}
_DEFAULT_BUFFER: Final = 1000 * 1000


class FileOptions(NamedTuple):
    """How much of a log is kept."""

    max_size: int
    max_files: int
    compress: bool


class SyslogAddress(NamedTuple):
    """Where a syslog service listens; all empty for this host's own."""

    network: str = ""
    address: str = ""
    """A path, or host and port."""


def settle_log_options(
    driver: str, options: Mapping[str, str], *, default_driver: str, defaults: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return driver and options of a new container, with the engine's defaults where they apply.

    Raises:
        InvalidParameterError: No such driver or option, or a value that is none.
        NotSupportedError: An option this engine does not honour.
    """
    driver = driver or default_driver
    settled = dict(options)
    for key, value in defaults.items():
        # Another driver's options mean nothing to this one; the cache's apply to all.
        if driver == default_driver or key.startswith("cache-"):
            settled.setdefault(key, value)
    check_log_options(driver, settled)
    return driver, settled


def check_log_options(driver: str, options: Mapping[str, str]) -> None:
    """Raise unless ``driver`` exists and takes ``options``.

    Raises:
        InvalidParameterError: With Docker's text.
        NotSupportedError: An option this engine does not honour.
    """
    if driver not in LOG_DRIVERS:
        raise InvalidParameterError(
            f"logger: no log driver named '{driver}' is registered: use {', '.join(LOG_DRIVERS)}"
        )
    if driver == NONE:
        return
    for key in options:
        if key not in _OPTIONS[driver] | _EVERY_DRIVER:
            text = _UNKNOWN.get(driver, "unknown log opt '{0}' for {1} log driver")
            raise InvalidParameterError(text.format(key, driver))
    buffer_size(options)
    if driver in {JSON_FILE, LOCAL}:
        file_options(driver, options)
    elif not cache_disabled(options):
        cache_options(options)
    for key in ("labels-regex", "env-regex"):
        _compile(key, options.get(key, ""))
    if driver == SYSLOG:
        syslog_address(options)
        syslog_facility(options)
        syslog_format(options)


def file_options(driver: str, options: Mapping[str, str]) -> FileOptions:
    """Return how much a driver that writes files keeps.

    Without options there is a cap of five files of 20 MB. Who says how large a file may get, and
    not how many there may be, has one with json-file, as in Docker; ``max-size=-1`` lifts the cap.

    Raises:
        InvalidParameterError: A value that is none.
    """
    size_text = options.get("max-size", "")
    single = driver == JSON_FILE and size_text not in {"", "-1"}
    size = _parse_log_size("max-size", size_text)
    files = _parse_count("max-file", options.get("max-file", ""), 1 if single else 0)
    compress = _parse_bool("compress", options.get("compress", ""), default=driver == LOCAL)
    if compress and (files < 2 or not size):
        if "compress" in options:
            raise InvalidParameterError(
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            )
        compress = False
    return FileOptions(size, files, compress)


def cache_options(options: Mapping[str, str]) -> FileOptions:
    """Return how much is kept for ``docker logs`` of a driver that sends lines elsewhere.

    Raises:
        InvalidParameterError: A value that is none.
    """
    names = {f"cache-{key}": key for key in _FILE}
    return file_options(
        LOCAL, {names[key]: value for key, value in options.items() if key in names}
    )


def cache_disabled(options: Mapping[str, str]) -> bool:
    """Return whether ``docker logs`` was given up.

    Raises:
        InvalidParameterError: Neither true nor false.
    """
    return _parse_bool("cache-disabled", options.get("cache-disabled", ""), default=False)


def buffer_size(options: Mapping[str, str]) -> int:
    """Return how much may wait before lines are dropped; 0 when the program waits instead.

    Raises:
        InvalidParameterError: No such mode, or a buffer without one that has it.
    """
    mode = options.get("mode", "")
    if mode not in {"", "blocking", "non-blocking"}:
        raise InvalidParameterError(f"logger: logging mode not supported: {mode}")
    text = options.get("max-buffer-size")
    if text is None:
        return _DEFAULT_BUFFER if mode == "non-blocking" else 0
    if mode != "non-blocking":
        raise InvalidParameterError(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    try:
        return max(parse_ram(text), 1)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"error parsing option max-buffer-size: {error}") from None


def syslog_address(options: Mapping[str, str]) -> SyslogAddress:
    """Return where syslog listens.

    Raises:
        InvalidParameterError: No address.
        NotSupportedError: One that is encrypted.
    """
    text = options.get("syslog-address", "")
    if not text:
        return SyslogAddress()
    scheme, separator, rest = text.partition("://")
    if not separator or not rest:
        raise InvalidParameterError(f"syslog-address should be in form proto://address, got {text}")
    if scheme == "tcp+tls":
        raise NotSupportedError(
            "syslog-address: tcp+tls is not supported: send to a relay on this host with unix or "
            "udp, and let that encrypt"
        )
    if scheme not in _SCHEMES:
        raise InvalidParameterError(f"unsupported scheme: '{scheme}': use {', '.join(_SCHEMES)}")
    if scheme.startswith("unix"):
        return SyslogAddress(scheme, rest)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+)(?::(\d{1,5}))?", rest)
    if match is None or int(match[2] or 514) > 65535:
        raise InvalidParameterError(f"syslog-address: {text}: want {scheme}://host:port")
    return SyslogAddress(scheme, f"{match[1]}:{match[2] or 514}")


def syslog_facility(options: Mapping[str, str]) -> int:
    """Return the facility's number.

    Raises:
        InvalidParameterError: There is no such.
    """
    text = options.get("syslog-facility", "") or "daemon"
    if text in _FACILITIES:
        return _FACILITIES[text]
    if text.isascii() and text.isdigit() and len(text) < 3 and int(text) < 24:
        return int(text)
    raise InvalidParameterError(
        f"invalid syslog facility: {text!r}: use {', '.join(_FACILITIES)}, or 0 to 23"
    )


def syslog_format(options: Mapping[str, str]) -> str:
    """Return the format's name.

    Raises:
        InvalidParameterError: There is no such.
    """
    text = options.get("syslog-format", "")
    if text not in _FORMATS:
        raise InvalidParameterError(
            f"invalid syslog format: {text!r}: use {', '.join(_FORMATS[1:])}"
        )
    return text


def chosen(options: Mapping[str, str], kind: str, have: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``have`` that an option and its ``-regex`` sibling ask for.

    Args:
        options: Of the driver.
        kind: ``labels`` or ``env``.
        have: All there is.
    """
    names = [name for name in options.get(kind, "").split(",") if name]
    found = {name: have[name] for name in names if name in have}
    pattern = _compile(f"{kind}-regex", options.get(f"{kind}-regex", ""))
    if pattern is not None:
        found |= {name: value for name, value in have.items() if pattern.search(name)}
    return found


def _compile(key: str, text: str) -> "re.Pattern[str] | None":
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InvalidParameterError(f"{key}: {text!r}: {error}") from None


def _parse_log_size(key: str, text: str) -> int:
    if not text:
        return DEFAULT_LOG_MAX_SIZE
    if text == "-1":
        return 0
    try:
        size = parse_size(text)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{key}: {error}: want a size such as 10m") from None
    if size < 1:
        raise InvalidParameterError(f"{key}: {text!r}: want more than nothing, or -1 for no limit")
    return size


def _parse_count(key: str, text: str, otherwise: int) -> int:
    if not text:
        return otherwise or DEFAULT_LOG_MAX_FILES
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InvalidParameterError(f"{key}: {text!r}: want a number of at least 1")
    if int(text) < 1:
        raise InvalidParameterError(f"{key} cannot be less than 1")
    return int(text)


def _parse_bool(key: str, text: str, *, default: bool) -> bool:
    if not text:
        return default
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise InvalidParameterError(f"{key}: {text!r}: want true or false")
