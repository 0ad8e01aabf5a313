"""Turning the kernel's refusals into failure classes with a sentence."""

import errno
import os

from kedge.errdefs import (
    ConflictError,
    ForbiddenError,
    KedgeError,
    NotFoundError,
    NotSupportedError,
    SystemFailureError,
)

_CLASSES = {
    errno.ENOENT: NotFoundError,
    errno.ENOTDIR: NotFoundError,
    errno.EPERM: ForbiddenError,
    errno.EACCES: ForbiddenError,
    errno.EROFS: ForbiddenError,
    errno.EEXIST: ConflictError,
    errno.EBUSY: ConflictError,
    errno.ENOSYS: NotSupportedError,
    errno.ENODEV: NotSupportedError,
    errno.EOPNOTSUPP: NotSupportedError,
}


def reason(error: OSError) -> str:
    """Return the kernel's words for ``error`` as Go programs print them: in lower case."""
    return os.strerror(error.errno or 0).lower()


def refusal(doing: str, error: OSError) -> KedgeError:
    """Return the failure that says ``doing`` did not work and why."""
    return _CLASSES.get(error.errno or 0, SystemFailureError)(f"{doing}: {reason(error)}")
