"""``--log-opt`` of the json-file driver. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.shim.messages import DEFAULT_LOG_MAX_FILES, DEFAULT_LOG_MAX_SIZE, LogConfig

_KNOWN: Final = frozenset({"max-size", "max-file", "compress", "labels", "env", "mode", "tag"})
_UNITS: Final = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3}


def parse_log_options(path: str, options: Mapping[str, str]) -> LogConfig:
    """Return where and how much to log.

    Args:
        path: The log file.
        options: As Docker's json-file driver names them; ``max-size=-1`` lifts the cap.

    Raises:
        InvalidParameterError: An unknown option or a value that is none.
    """
    for key in options:
        if key not in _KNOWN:
            raise InvalidParameterError(f"unknown log opt '{key}' for json-file log driver")
    size = _parse_size(options.get("max-size", ""))
    files = options.get("max-file", str(DEFAULT_LOG_MAX_FILES))
    if not files.isdigit() or int(files) < 1:
        raise InvalidParameterError(f"max-file: {files!r}: want a number of at least 1")
    return LogConfig(path=path, max_size=size, max_files=int(files))


def _parse_size(text: str) -> int:
    if not text:
        return DEFAULT_LOG_MAX_SIZE
    if text == "-1":
        return 0
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text.lower())
    if match is None or match[2] not in _UNITS:
        raise InvalidParameterError(f"max-size: {text!r}: want a size such as 10m")
    return int(match[1]) * _UNITS[match[2]]
