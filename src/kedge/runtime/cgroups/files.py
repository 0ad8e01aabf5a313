"""Reading and writing the one-value files of a cgroup, with errors a person can act on."""

from __future__ import annotations

import errno
import os

from kedge.errdefs import (
    ForbiddenError,
    InvalidParameterError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
    SystemFailureError,
    UnavailableError,
)
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_CHUNK: Final = 65536


def write_value(path: str, value: str) -> None:
    """Write ``value`` in one system call.

    Raises:
        OSError: The kernel refused; `refusal` turns it into a failure class.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def write_limit(path: str, value: str) -> None:
    """Write ``value``, and raise the failure class that fits if the kernel refuses it."""
    try:
        write_value(path, value)
    except OSError as error:
        raise refusal(error, path, value) from error


def refusal(error: OSError, path: str, value: str) -> KedgeError:
    """Return the failure that says what ``error`` means for writing ``value`` to ``path``."""
    name = os.path.basename(path)
    directory = os.path.dirname(path)
    if error.errno == errno.ENOENT:
        if os.path.isdir(directory):
            return NotSupportedError(f"this kernel has no {name}, so {value} cannot be set")
        return NotFoundError(f"no such cgroup: {directory}")
    if error.errno in {errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.EOVERFLOW}:
        return InvalidParameterError(f"the kernel refuses {value!r} for {name} of {directory}")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return ForbiddenError(f"not allowed to write {path}: {os.strerror(error.errno)}")
    if error.errno == errno.EBUSY:
        return UnavailableError(f"{path} cannot take {value!r} now: the cgroup is in use")
    return SystemFailureError(f"cannot write {value!r} to {path}: {error.strerror}")


def read_text(path: str) -> str:
    """Return the whole file, or an empty string when the kernel does not offer it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        chunks: list[bytes] = []
        while chunk := os.read(descriptor, _CHUNK):
            chunks.append(chunk)
    except OSError as error:
        # A cgroup removed while it is read answers ENODEV; files for what is not built in,
        # EOPNOTSUPP. Both mean there is nothing to read.
        if error.errno in {errno.ENODEV, errno.EOPNOTSUPP}:
            return ""
        raise
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode(errors="replace")
