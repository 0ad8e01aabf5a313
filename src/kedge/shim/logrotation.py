"""The older files of a rotated log: shifting them along, and turning them into gzip.

``x.log`` becomes ``x.log.1``, that ``x.log.2``, and the oldest goes. With compression ``x.log.1``
becomes ``x.log.1.gz`` piece by piece between other work, because the shim has one thread and the
program's output must not wait for it. Readers know a file by its inode, so the gzip header keeps
that of the plain file in an extra field; `kedge.logdrivers.rotation` reads it there.
"""

import os
from contextlib import suppress
from typing import Final

PACKED: Final = ".gz"
_UNFINISHED: Final = ".gz.tmp"
_PIECE: Final = 256 * 1024
_LEVEL: Final = 1
# RFC 1952: magic, deflate, FEXTRA; no time, no flags, Unix; then the length of the extra field.
_HEADER: Final = b"\x1f\x8b\x08\x04\0\0\0\0\0\x03"
_FIELD: Final = b"KI\x08\0"


def rotate(path: str, max_files: int) -> None:
    """Shift ``path`` to ``path.1`` and so on; the oldest of ``max_files`` is forgotten.

    Raises:
        OSError: A file could not be renamed; nothing is lost.
    """
    older = 1
    while older < max_files - 1 and _name(path, older):
        older += 1
    for number in range(older, 1, -1):
        name = _name(path, number - 1)
        if name:
            _replace(name, f"{path}.{number}", packed=name.endswith(PACKED))
    if max_files > 1:
        _replace(path, f"{path}.1", packed=False)
    else:
        os.unlink(path)


def _name(path: str, number: int) -> str:
    """Return what the ``number``-th file is called now; empty when there is none."""
    name = f"{path}.{number}"
    # The plain one first: after a crash in mid-compression both may be there.
    for each in (name, name + PACKED):
        if os.path.exists(each):
            return each
    return ""


def _replace(source: str, target: str, *, packed: bool) -> None:
    os.rename(source, target + PACKED if packed else target)
    with suppress(FileNotFoundError):
        os.unlink(target if packed else target + PACKED)


class Packer:
    """Turns ``path.1`` into ``path.1.gz``; nothing is visible before it is whole."""

    __slots__ = ("_crc", "_deflate", "_name", "_size", "_source", "_target", "_unfinished")

    def __init__(self, path: str) -> None:
        """Begin.

        Raises:
            OSError: A file cannot be opened or made.
        """
        import zlib  # noqa: PLC0415 - only containers that ask for compression pay for it

        self._name = f"{path}.1"
        self._unfinished = path + _UNFINISHED
        self._crc = zlib.crc32
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._size = self._crc(b""), 0
        self._source = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._target = os.open(
                self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640
            )
        except OSError:
            os.close(self._source)
            raise
        field = _FIELD + os.fstat(self._source).st_ino.to_bytes(8, "little")
        _write(self._target, _HEADER + len(field).to_bytes(2, "little") + field)

    def step(self) -> bool:
        """Do some milliseconds of work; return whether there is more.

        Raises:
            OSError: The disk is full or broken; call `abandon`.
        """
        piece = os.read(self._source, _PIECE)
        crc, size = self._size
        if piece:
            self._size = self._crc(piece, crc), size + len(piece)
            _write(self._target, self._deflate.compress(piece))
            return True
        trailer = crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
        _write(self._target, self._deflate.flush() + trailer)
        times = os.fstat(self._source)
        # Readers skip a file whose last change is older than what they look for.
        os.utime(self._target, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.rename(self._unfinished, self._name + PACKED)
        os.unlink(self._name)
        self._close()
        return False

    def finish(self) -> None:
        """Do the rest of the work now."""
        while self.step():
            pass

    def abandon(self) -> None:
        """Leave the plain file as it is."""
        if self._source >= 0:
            self._close()
            with suppress(OSError):
                os.unlink(self._unfinished)

    def _close(self) -> None:
        os.close(self._source)
        os.close(self._target)
        self._source = -1


def forget_unfinished(path: str) -> None:
    """Remove what a shim that was killed in mid-compression left."""
    with suppress(OSError):
        os.unlink(path + _UNFINISHED)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
