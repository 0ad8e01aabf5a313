"""Failures of the host under the engine, in one line: a full disk, a folder that cannot be made."""

from kedge.errdefs import SystemFailureError


def host_failure(error: OSError) -> SystemFailureError:
    """Return ``error`` as a failure with a message for people, without Python's wrapping."""
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return SystemFailureError(f"{where}{(error.strerror or str(error)).lower()}")


def exit_code_of(message: str) -> int:
    """Return the code `docker run` derives from the same text."""
    if "permission denied" in message or "is a directory" in message:
        return 126
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    return 128
