"""The archives of ``kedge cp``: written from this host's files, and unpacked onto it.

A container is not trusted: nothing it sends is written outside the destination. Every folder on
the way to an entry is opened without following symbolic links, which the archive itself may have
brought; links are made as they are and never followed.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator

from kedge.cli.contexttar import ARCHIVE_END, file_pieces, header_bytes
from kedge.errdefs import InvalidParameterError, SystemFailureError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 18


def stream_tree(path: str, base: str) -> Iterator[bytes]:
    """Yield the tar of a file or folder, called ``base`` in it; hard links stay links.

    Raises:
        InvalidParameterError: A file cannot be read; it is named.
    """
    seen: dict[tuple[int, int], str] = {}
    yield from _entries(path, base, seen)
    yield ARCHIVE_END


def _entries(path: str, name: str, seen: dict[tuple[int, int], str]) -> Iterator[bytes]:
    status = os.lstat(path)
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    info.uid, info.gid = status.st_uid, status.st_gid
    identity = (status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        yield header_bytes(info)
        for child in sorted(os.listdir(path)):
            yield from _entries(os.path.join(path, child), f"{name.rstrip('/')}/{child}", seen)
        return
    if status.st_nlink > 1 and identity in seen:
        info.type, info.linkname = tarfile.LNKTYPE, seen[identity]
    elif stat.S_ISREG(status.st_mode):
        seen[identity] = name
        info.size = status.st_size
        yield header_bytes(info)
        yield from file_pieces(path, info.size)
        return
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    else:
        # Sockets have no place in an archive.
        return
    yield header_bytes(info)


class _Pieces(io.BufferedIOBase):
    """An iterator of bytes as a file to read from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._pending = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return as many bytes as asked for, fewer at the end only."""
        if size is None or size < 0:
            raise io.UnsupportedOperation("read without a size")
        parts = [self._pending]
        length = len(self._pending)
        while length < size:
            piece = next(self._chunks, b"")
            if not piece:
                break
            parts.append(piece)
            length += len(piece)
        data = b"".join(parts)
        self._pending = data[size:]
        return data[:size]


def extract(
    chunks: Iterable[bytes], folder: str, *, old_base: str, new_base: str, owners: bool
) -> None:
    """Unpack an archive below ``folder``, with ``new_base`` in place of ``old_base``.

    Args:
        chunks: The archive.
        folder: An existing folder.
        old_base: First part of every name in the archive.
        new_base: What it becomes.
        owners: Whether files get the owners of the archive.

    Raises:
        InvalidParameterError: A name that leads out of the folder, or a folder in a file's place.
        SystemFailureError: The archive is damaged.
    """
    pieces = _Pieces(chunks)
    dates: list[tuple[str, tarfile.TarInfo]] = []
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=pieces, mode="r|", errorlevel=2) as archive:
            for info in archive:
                name = _renamed(info.name, old_base, new_base)
                _Entry(archive, info, root, name, folder).place(
                    link=_renamed(info.linkname, old_base, new_base), owners=owners
                )
                if info.isdir():
                    dates.append((name, info))
        # Writing into a folder changes its date, and a read-only one could not be written into.
        for name, info in reversed(dates):
            _finish_folder(root, name, info)
    except tarfile.TarError as error:
        raise SystemFailureError(f"the engine sent a damaged archive: {error}") from None
    finally:
        os.close(root)
    # What follows the end of the archive belongs to the same answer.
    while pieces.read(_CHUNK):
        pass


def _renamed(name: str, old: str, new: str) -> str:
    if old == "/":
        return f"{new}/{name}" if new != "/" else name
    if old != new and (name == old or name.startswith(f"{old}/")):
        return new + name[len(old) :]
    return name


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise InvalidParameterError(f"refusing to write outside the destination: {name}")
    return parts


def _open_parent(root: int, parts: list[str]) -> int:
    """Return a descriptor of the folder ``parts`` is in; missing ones are made."""
    current = os.dup(root)
    for part in parts[:-1]:
        try:
            below = os.open(part, _FOLDER, dir_fd=current)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=current)
            below = os.open(part, _FOLDER, dir_fd=current)
        except OSError:
            os.close(current)
            raise InvalidParameterError(
                f"refusing to write through {part}: it is no folder"
            ) from None
        os.close(current)
        current = below
    return current


def _finish_folder(root: int, name: str, info: tarfile.TarInfo) -> None:
    parts = _parts(name)
    if not parts:
        # The destination itself keeps what it has.
        return
    parent = _open_parent(root, parts)
    try:
        os.chmod(parts[-1], stat.S_IMODE(info.mode), dir_fd=parent)
        os.utime(parts[-1], (info.mtime, info.mtime), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


class _Entry:
    """One entry on its way to disk."""

    def __init__(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo, root: int, name: str, folder: str
    ) -> None:
        self._archive = archive
        self._info = info
        self._root = root
        self._name = name
        self._folder = folder

    def place(self, *, link: str, owners: bool) -> None:
        """Make it."""
        info, parts = self._info, _parts(self._name)
        if not parts:
            return
        parent = _open_parent(self._root, parts)
        try:
            name = parts[-1]
            if not self._make_way(parent, name):
                return
            self._make(parent, name, link)
            if owners and os.geteuid() == 0:
                os.chown(name, info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
            if not info.issym() and not info.islnk() and not info.isdir():
                os.chmod(name, stat.S_IMODE(info.mode), dir_fd=parent)
            if not info.isdir() and not info.islnk():
                os.utime(name, (info.mtime, info.mtime), dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def _make_way(self, parent: int, name: str) -> bool:
        """Remove what is in the way; whether there is something left to make."""
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return True
        path = os.path.join(self._folder, self._name)
        if stat.S_ISDIR(found.st_mode):
            if self._info.isdir():
                return False
            raise InvalidParameterError(
                f'cannot overwrite directory "{path}" with non-directory "{self._folder}"'
            )
        if self._info.isdir():
            raise InvalidParameterError(
                f'cannot overwrite non-directory "{path}" with directory "{self._folder}"'
            )
        os.unlink(name, dir_fd=parent)
        return True

    def _make(self, parent: int, name: str, link: str) -> None:
        info = self._info
        if info.isdir():
            os.mkdir(name, 0o700, dir_fd=parent)
        elif info.isreg():
            self._write(parent, name)
        elif info.issym():
            os.symlink(info.linkname, name, dir_fd=parent)
        elif info.islnk():
            parts = _parts(link)
            source = _open_parent(self._root, parts)
            try:
                os.link(
                    parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
                )
            finally:
                os.close(source)
        elif info.isfifo():
            os.mkfifo(name, stat.S_IMODE(info.mode), dir_fd=parent)
        elif info.ischr() or info.isblk():
            kind = stat.S_IFCHR if info.ischr() else stat.S_IFBLK
            device = os.makedev(info.devmajor, info.devminor)
            os.mknod(name, kind | stat.S_IMODE(info.mode), device, dir_fd=parent)
        else:
            raise InvalidParameterError(f"cannot unpack {info.name}: unknown type of file")

    def _write(self, parent: int, name: str) -> None:
        source = self._archive.extractfile(self._info)
        with open(os.open(name, _NEW_FILE, 0o600, dir_fd=parent), "wb", buffering=0) as file:
            while source is not None and (piece := source.read(_CHUNK)):
                file.write(piece)
