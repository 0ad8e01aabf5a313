"""`DirectoryTree`: a folder of the host as a tree.

File digests are remembered by device, inode, change time and size, so that an unchanged file is
read once in the life of the engine. Files are opened below a descriptor of the root with no link
followed on the way, so a context that changes under the build cannot lead out of the folder.
"""

import hashlib
import io
import os
import stat
import threading
from collections import OrderedDict
from typing import BinaryIO, Final, Self

from kedge.archive.entry import Entry, Kind
from kedge.archive.xattrs import read_xattrs
from kedge.builder.files.tree import copy_stream
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.clock import SYSTEM_CLOCK, Clock
from kedge.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_KINDS: Final = {
    stat.S_IFREG: Kind.REGULAR,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
# A file that changes twice within one tick of the kernel's clock keeps its change time, so what
# was changed that recently is not remembered.
_SETTLED_NS: Final = 20_000_000

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_BENEATH: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS

FileIdentity = tuple[int, int, int, int]


class DigestMemo:
    """Digests of files that have not changed since; thread-safe, the oldest go first."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, limit: int = 200_000) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._digests: OrderedDict[FileIdentity, str] = OrderedDict()

    def digest(self, stream: io.FileIO) -> str:
        """Return ``sha256:…`` of a whole open file, read only if it is not known."""
        status = os.fstat(stream.fileno())
        identity = _identity(status)
        with self._lock:
            known = self._digests.get(identity)
        if known is not None:
            return known
        digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        if self._clock.time_ns() - status.st_ctime_ns >= _SETTLED_NS:
            with self._lock:
                self._digests[identity] = digest
                if len(self._digests) > self._limit:
                    self._digests.popitem(last=False)
        return digest


def _identity(status: os.stat_result) -> FileIdentity:
    return (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)


def kind_of(status: os.stat_result) -> Kind | None:
    """Return what a file of the host is; None for a socket, which is never copied."""
    return _KINDS.get(stat.S_IFMT(status.st_mode))


def plain_entry(name: str, status: os.stat_result) -> Entry | None:
    """Return the entry of a file of the host without link target and attributes."""
    kind = kind_of(status)
    if kind is None:
        return None
    is_device = kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)
    return Entry(
        name,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is Kind.REGULAR else 0,
        mtime_ns=status.st_mtime_ns,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
    )


def entry_at(path: str, status: os.stat_result) -> Entry | None:
    """Return the whole entry of the file ``path`` of the host; links are not followed."""
    entry = plain_entry(path, status)
    if entry is None:
        return None
    if entry.kind is Kind.SYMLINK:
        return entry._replace(link_target=os.readlink(path))
    return entry._replace(xattrs=read_xattrs(path))


class DirectoryTree:
    """A build context that is a folder; all files belong to root. Close it after use."""

    def __init__(self, root: str, memo: DigestMemo) -> None:
        """Use the folder ``root``.

        Raises:
            InvalidParameterError: It is no folder, or cannot be read.
        """
        if not os.path.isdir(root):
            raise InvalidParameterError(f"build context {root} is not a directory")
        self._root = os.path.realpath(root)
        self._memo = memo
        self._descriptor = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder."""
        os.close(self._descriptor)

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``."""
        full = self._full(path)
        try:
            found = entry_at(full, os.lstat(full))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise InvalidParameterError(f"cannot read {path} of the build context") from error
        return None if found is None else found._replace(uid=0, gid=0)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        try:
            return tuple(sorted(os.listdir(self._full(path))))
        except PermissionError as error:
            raise InvalidParameterError(f"cannot read {path} of the build context") from error

    def digest(self, path: str) -> str:
        """Return the digest of a file, read only if it changed since the last time."""
        with self._open(path) as stream:
            return self._memo.digest(stream)

    def write_to(self, path: str, descriptor: int) -> None:
        """Copy the content of a file inside the kernel."""
        with self._open(path) as stream:
            copy_stream(stream, descriptor)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; the last name is never followed."""
        return io.BufferedReader(self._open(path))

    def _open(self, path: str) -> io.FileIO:
        try:
            descriptor = openat2(self._descriptor, path, _OPEN, resolve=_BENEATH)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} vanished from the build context") from error
        except OSError as error:
            raise InvalidParameterError(f"cannot read {path} of the build context") from error
        return io.FileIO(descriptor)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root
