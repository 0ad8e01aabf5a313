r"""The container's log file in Docker's json-file form, written by whole chunks.

Each line of output becomes ``{"log":"...\n","stream":"stdout","time":"..."}``. A program that
floods its output must not be slowed to the speed of a Python loop over lines, so nothing here looks
at single lines: a chunk is escaped by a few passes of C code over all of it, and the text between
two log entries is put in by one ``bytes.replace`` of the newline. All lines of one read carry one
time stamp. `kedge.logdrivers.jsonfile` reads the files back with the same trick reversed.

Lines above 16 KiB are cut into entries without a newline at their end, as Docker cuts them.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from kedge.lib.clock import SYSTEM_CLOCK, Clock, format_rfc3339
from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject
from kedge.shim.logconfig import LogConfig
from kedge.shim.logrotation import Packer, forget_unfinished, rotate
from kedge.shim.luggage import Luggage
from kedge.shim.messages import STDERR, STDOUT

PARTIAL_SIZE: Final = 16 * 1024
# One write takes at most about this much, so that a rotated file overshoots by one entry at most.
_BLOCK_SIZE: Final = 512 * 1024
_HEAD: Final = b'{"log":"'
_STREAM_NAMES: Final = {STDOUT: b"stdout", STDERR: b"stderr"}

# What Go's json escapes in a string: controls, quote, backslash, and the three HTML characters.
# The newline is left out because replacing it is the framing.
_ESCAPES: Final = {
    **{code: b"\\u%04x" % code for code in range(0x20) if code != 0x0A},
    0x0D: b"\\r",
    0x22: b'\\"',
    0x26: b"\\u0026",
    0x3C: b"\\u003c",
    0x3E: b"\\u003e",
    0x5C: b"\\\\",
}
# The backslash first: every other replacement brings new ones.
_REPLACEMENTS: Final = tuple(
    (bytes((code,)), _ESCAPES[code])
    for code in sorted(_ESCAPES, key=lambda code: (code != 0x5C, code))
)
_ASIDE: Final = b"\x01"
_PLAIN: Final = bytes(code for code in range(256) if code not in _ESCAPES)


def escape(chunk: bytes) -> bytes:
    r"""Return ``chunk`` as the inside of a JSON string, byte for byte as Docker writes it.

    Newlines are left as they are. Bytes that are not UTF-8 become ``\ufffd``, each one.
    """
    special = chunk.translate(None, _PLAIN)
    if special:
        for character, escaped in _REPLACEMENTS:
            if character in special:
                chunk = chunk.replace(character, escaped)
    if chunk.isascii():
        return chunk
    try:
        chunk.decode()
    except UnicodeDecodeError:
        chunk = _replace_invalid(chunk)
    return chunk.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def _replace_invalid(escaped: bytes) -> bytes:
    r"""Turn each byte that belongs to no character into ``\ufffd``, as Go does.

    Python's own replacement makes one mark of a run of such bytes. Here each becomes a surrogate,
    each surrogate a question mark and each of those the escape, all of it in C. Real question marks
    stand aside as a control character meanwhile: `escape` has left none of those.
    """
    marked = escaped.replace(b"?", _ASIDE).decode("utf-8", "surrogateescape")
    return marked.encode("utf-8", "replace").replace(b"?", rb"\ufffd").replace(_ASIDE, b"?")


def split_long_lines(lines: bytes) -> list[bytes]:
    """Cut ``lines`` into runs of whole lines and, for lines above 16 KiB, pieces of them.

    Args:
        lines: Whole lines, the last one ends in a newline.

    Returns:
        Pieces that join to ``lines``. A piece that does not end in a newline is one partial entry;
        any other is one or more whole lines.
    """
    pieces: list[bytes] = []
    run = position = 0
    while len(lines) - position > PARTIAL_SIZE:
        newline = lines.rfind(b"\n", position, position + PARTIAL_SIZE)
        if newline >= 0:
            position = newline + 1
            continue
        if run < position:
            pieces.append(lines[run:position])
        end = cut_before(lines, position + PARTIAL_SIZE)
        pieces.append(lines[position:end])
        run = position = end
    pieces.append(lines[run:])
    return pieces


def cut_before(data: bytes, end: int) -> int:
    """Return the last place at or before ``end`` that does not split a UTF-8 character.

    compat: Docker cuts at the byte and turns the character's halves into U+FFFD.
    """
    for back in range(4):
        if end - back >= len(data) or data[end - back] & 0xC0 != 0x80:
            return end - back
    return end


Later: TypeAlias = Callable[[Callable[[], None]], object]
"""Runs an action once there is nothing more urgent."""

OnGap: TypeAlias = Callable[[int, str], None]
"""Told that output is not kept, and why, when that begins; and how much of it once it is over."""


def _tell_nobody(_missing_bytes: int, _reason: str) -> None:
    """Leave it to the line in the log."""


def _never(_action: Callable[[], None]) -> None:
    """Leave compression to the next rotation."""


class LogFile:
    """One container's log: appended to, rotated by size, complete after `close`.

    A file that cannot be written, for example on a full disk, never stops the container: what does
    not fit is dropped in whole entries. The first entry that fits again comes with one before it,
    on standard error, that says how much is missing and why.
    """

    __slots__ = (
        "_attrs", "_clock", "_config", "_fd", "_growth", "_later", "_missing", "_on_gap",
        "_packer", "_reason", "_size", "_tails",
    )  # fmt: skip

    def __init__(
        self,
        config: LogConfig,
        clock: Clock = SYSTEM_CLOCK,
        later: Later = _never,
        on_gap: OnGap = _tell_nobody,
        resumed: tuple[int, JsonObject] | None = None,
    ) -> None:
        """Open or create the file.

        Args:
            config: Where, and how much.
            clock: Stamps the lines.
            later: Has older files compressed between other work.
            on_gap: Told when output cannot be kept.
            resumed: The descriptor and the words of a `try_pack`, to go on with.

        Raises:
            OSError: The directory is missing or not writable.
        """
        self._config = config
        self._clock = clock
        self._tails = {STDOUT: b"", STDERR: b""}
        self._missing = 0
        self._reason = ""
        self._on_gap = on_gap
        self._size = 0
        self._growth = 1.0
        self._later = later
        self._packer: Packer | None = None
        self._attrs = b'"attrs":%b,' % config.attrs.encode() if config.attrs else b""
        if resumed is not None:
            self._fd, packed = resumed
            self._size = number(packed, "size")
            for stream in self._tails:
                self._tails[stream] = text(packed, "tails", str(stream)).encode("latin-1")
            return
        self._fd = self._open()
        if config.compress:
            forget_unfinished(config.path)
            self._begin_packing()

    def write(self, stream: int, chunk: bytes) -> None:
        """Take output of ``stream``; lines are in the file when this returns, a tail waits."""
        tail = self._tails[stream]
        if tail:
            chunk = tail + chunk
        end = chunk.rfind(b"\n") + 1
        if end:
            for piece in split_long_lines(chunk[:end] if end < len(chunk) else chunk):
                self._append(stream, piece)
        while len(chunk) - end >= PARTIAL_SIZE:
            cut = cut_before(chunk, end + PARTIAL_SIZE)
            self._append(stream, chunk[end:cut])
            end = cut
        self._tails[stream] = chunk[end:]

    def try_pack(self, luggage: Luggage) -> JsonObject | None:
        """Return what another process goes on with; None while there is something to catch up."""
        if self._missing or self._packer is not None or self._fd < 0:
            return None
        luggage.keep("log", self._fd)
        tails: JsonObject = {str(key): tail.decode("latin-1") for key, tail in self._tails.items()}
        return {"size": self._size, "tails": tails}

    def flush(self) -> None:
        """Write out last lines that have no newline; the program has ended."""
        for stream, tail in self._tails.items():
            if tail:
                self._tails[stream] = b""
                self._append(stream, tail)

    def close(self) -> None:
        """Flush and give the file back; what is not compressed yet waits for the next start."""
        self.flush()
        if self._packer is not None:
            self._packer.abandon()
            self._packer = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, stream: int, piece: bytes) -> None:
        if not piece:
            return
        end = self._end_of_entry(stream)
        if piece[-1] != 0x0A:
            self._store(escape(piece) + end, piece)
            return
        separator = b"\\n" + end + _HEAD
        start = 0
        while start < len(piece):
            start = self._append_block(piece, start, separator)

    def _end_of_entry(self, stream: int) -> bytes:
        stamp = format_rfc3339(self._clock.time_ns()).encode()
        return b'","stream":"%b",%b"time":"%b"}\n' % (_STREAM_NAMES[stream], self._attrs, stamp)

    def _append_block(self, piece: bytes, start: int, separator: bytes) -> int:
        """Store the lines from ``start`` that fit into the file; return where the next ones are."""
        room = self._room()
        take = max(int(room / self._growth), 1)
        while True:
            stop = len(piece)
            if stop - start > take:
                # At least one line, whatever its size.
                stop = (piece.rfind(b"\n", start, start + take) + 1) or (
                    piece.index(b"\n", start) + 1
                )
            lines = piece if stop - start == len(piece) else piece[start:stop]
            entries = escape(lines).replace(b"\n", separator)
            self._growth = len(entries) / len(lines)
            if len(entries) <= room or lines.find(b"\n") == len(lines) - 1:
                break
            # What does not fit beside older entries may fit into a file of its own.
            take = min(int(room / self._growth), (stop - start) // 2)
        self._store(memoryview(entries)[: -len(_HEAD)], lines)
        return stop

    def _room(self) -> int:
        limit = self._config.max_size
        if not limit:
            return _BLOCK_SIZE
        left = limit - self._size
        return min(_BLOCK_SIZE, left if left > 0 else limit)

    def _store(self, rest: bytes | memoryview, source: bytes) -> None:
        """Write the head of an entry and ``rest``, which ends with a whole entry."""
        head = self._describe_gap() + _HEAD if self._missing else _HEAD
        length = len(head) + len(rest)
        limit = self._config.max_size
        if limit and self._size and self._size + length > limit:
            self._rotate()
        try:
            if self._fd < 0:
                self._fd = self._open()
            written = os.writev(self._fd, (head, rest))
            if written < length:
                written += os.write(self._fd, (head + bytes(rest))[written:])
        except OSError as error:
            self._miss(source, error)
            return
        if written < length:
            self._miss(source, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            return
        self._size += length
        if self._missing:
            missing, self._missing = self._missing, 0
            self._on_gap(missing, self._reason)

    def _miss(self, source: bytes, error: OSError) -> None:
        """Note what cannot be kept, and take back what of it has been written."""
        begins = not self._missing
        self._missing += len(source)
        self._reason = (error.strerror or str(error)).lower()
        with suppress(OSError):
            # Half an entry would make the next one unreadable.
            os.ftruncate(self._fd, self._size)
        if begins:
            self._on_gap(0, self._reason)

    def _describe_gap(self) -> bytes:
        words = f"kedge: {self._missing} bytes of output are missing here: {self._reason}"
        return _HEAD + escape(words.encode()) + b"\\n" + self._end_of_entry(STDERR)

    def _open(self) -> int:
        fd = os.open(self._config.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(fd).st_size
        # A writer killed in mid-write leaves half an entry; it shall spoil only itself.
        if self._size and os.pread(fd, 1, self._size - 1) != b"\n":
            self._size += os.write(fd, b"\n")
        return fd

    def _rotate(self) -> None:
        """Shift ``x.log`` to ``x.log.1`` and so on, forget the oldest, and start a new file."""
        config = self._config
        self._finish_packing()
        try:
            rotate(config.path, config.max_files)
        except OSError:
            # Better a file above its cap than a lost line.
            return
        os.close(self._fd)
        self._fd = -1
        self._size = 0
        if config.compress:
            self._begin_packing()

    def _begin_packing(self) -> None:
        # Without a file to compress, or room for the outcome, there is nothing to do.
        with suppress(OSError):
            self._packer = Packer(self._config.path)
            self._later(self._pack)

    def _pack(self) -> None:
        packer = self._packer
        if packer is None:
            return
        try:
            if packer.step():
                self._later(self._pack)
                return
        except OSError:
            packer.abandon()
        self._packer = None

    def _finish_packing(self) -> None:
        """Compress the rest now: the next file is full already, so output has to wait."""
        packer, self._packer = self._packer, None
        if packer is not None:
            try:
                packer.finish()
            except OSError:
                packer.abandon()
