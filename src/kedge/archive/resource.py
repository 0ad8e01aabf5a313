"""One path inside a root that others may be changing: what it is, and its tar stream.

What ``docker cp`` needs, with moby's rules for the last part of a path: a link there is followed
only behind a trailing ``/`` or ``/.``, and the archive's entries begin with the name that was asked
for. The kernel resolves every path (``RESOLVE_IN_ROOT``), so no link and no rename leads outside.
"""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from kedge.archive.layered import LayerStack
from kedge.archive.target import open_in_root
from kedge.archive.writer import ChangeEntry, Writable, Written, create_tar
from kedge.errdefs import InvalidParameterError, NotFoundError

_LOOK: Final = os.O_PATH | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class PathStatus(NamedTuple):
    """What stands at a path."""

    name: str
    """Last part of the path as it was asked for."""
    status: os.stat_result
    link_target: str = ""
    """Where a link leads, as an absolute path inside the root, whether or not it exists."""


class ResourcePath(NamedTuple):
    """A path as a client spells it, read with moby's rules."""

    path: str
    """Absolute and clean."""
    name: str
    """What the archive's entries begin with: ``.``, ``/`` or the last part."""
    follow: bool
    """Whether a link in the last place is followed."""


def parse_resource(text: str) -> ResourcePath:
    """Return what ``text``, absolute or relative to the root, means.

    Raises:
        InvalidParameterError: It holds a NUL byte.
    """
    if "\0" in text:
        raise InvalidParameterError("invalid path: it holds a NUL byte")
    path = "/" + os.path.normpath(f"/{text}").lstrip("/")
    if text.endswith("/.") or text == ".":
        return ResourcePath(path, ".", follow=True)
    return ResourcePath(path, os.path.basename(path) or "/", follow=text.endswith("/"))


def stat_resource(root: int, resource: ResourcePath) -> PathStatus:
    """Return what stands at a path below the directory ``root``.

    Raises:
        NotFoundError: Nothing.
    """
    with _opened(root, resource) as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISLNK(status.st_mode):
            return PathStatus(resource.name, status)
        with LayerStack((f"/proc/self/fd/{root}",)) as stack, suppress(InvalidParameterError):
            target = f"/{stack.canonical_path(resource.path)}"
            return PathStatus(resource.name, status, target)
        # A circle of links has no end; its text is all there is to say.
        return PathStatus(resource.name, status, os.readlink("", dir_fd=descriptor))


def write_resource(
    root: int, resource: ResourcePath, out: Writable, *, change: ChangeEntry | None = None
) -> Written:
    """Write what stands at a path below the directory ``root`` as a tar stream.

    Args:
        root: A descriptor.
        resource: What to write.
        out: Where the stream goes.
        change: Applied to every entry.

    Raises:
        NotFoundError: Nothing.
    """
    with _opened(root, resource) as descriptor:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if is_directory:
            # Through the descriptor: what was looked at is what is read.
            with LayerStack((f"/proc/self/fd/{descriptor}",)) as stack:
                return create_tar(stack, out, name=resource.name, change=change)
    parent, base = os.path.split(resource.path)
    if resource.follow:
        with LayerStack((f"/proc/self/fd/{root}",)) as stack:
            parent, base = os.path.split(f"/{stack.canonical_path(resource.path)}")
    try:
        directory = open_in_root(root, parent, _LIST)
    except OSError as error:
        raise _not_found(resource, error) from None
    try:
        with LayerStack((f"/proc/self/fd/{directory}",)) as stack:
            return create_tar(stack, out, path=base, name=resource.name, change=change)
    finally:
        os.close(directory)


@contextmanager
def _opened(root: int, resource: ResourcePath) -> Generator[int]:
    flags = _LOOK if resource.follow else _LOOK | os.O_NOFOLLOW
    try:
        descriptor = open_in_root(root, resource.path, flags)
    except OSError as error:
        raise _not_found(resource, error) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _not_found(resource: ResourcePath, error: OSError) -> NotFoundError:
    reason = os.strerror(error.errno or 0).lower()
    return NotFoundError(f"cannot open {resource.path}: {reason}")
