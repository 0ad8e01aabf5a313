"""Small ways to make and read tar streams in tests."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator

from hypothesis import strategies as st

from kedge.archive.entry import Entry, Kind
from kedge.archive.reader import TarReader
from kedge.archive.writer import TarWriter


def make_tar(*members: tuple[Entry, bytes]) -> bytes:
    """Return the stream our own writer makes."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, content in members:
        writer.add(entry, (content,))
    writer.finish()
    return out.getvalue()


def chunked(data: bytes, cuts: Iterable[int]) -> Callable[[], bytes]:
    """Return a ``read_chunk`` that hands out ``data`` cut at the given places."""
    places = [0, *sorted(set(cuts)), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places) if a < b]
    iterator: Iterator[bytes] = iter(pieces)
    return lambda: next(iterator, b"")


def read_tar(read_chunk: Callable[[], bytes]) -> list[tuple[Entry, bytes]]:
    """Return every member with its stored content."""
    reader = TarReader(read_chunk)
    return [(entry, b"".join(map(bytes, reader.content()))) for entry in reader]


_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300
)
_IDS = st.integers(0, (1 << 32) - 2)
_XATTRS = st.dictionaries(
    _TEXT.map(lambda text: "user." + text.replace("=", "-")), st.binary(max_size=60), max_size=3
)


@st.composite
def members(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """Draw a member of any kind."""
    kind = draw(st.sampled_from(Kind))
    name = draw(_TEXT).strip("/") or "x"
    content = draw(st.binary(max_size=1200)) if kind is Kind.REGULAR else b""
    is_link = kind in (Kind.SYMLINK, Kind.HARD_LINK)
    is_device = kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)
    entry = Entry(
        name + "/" if kind is Kind.DIRECTORY else name,
        kind,
        draw(st.integers(0, 0o7777)),
        draw(_IDS),
        draw(_IDS),
        len(content),
        draw(st.integers(-(1 << 62), 1 << 62)),
        draw(_TEXT) if is_link else "",
        (draw(st.integers(0, 4095)), draw(st.integers(0, 1 << 20))) if is_device else (0, 0),
        draw(_XATTRS),
    )
    return entry, content
