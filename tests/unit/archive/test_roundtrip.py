"""What the writer writes, our reader and Python's tarfile read back."""

import io
import os
import stat
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.archive.entry import Entry, Kind, Segment
from kedge.archive.header import encode_entry, encode_file
from kedge.archive.writer import TarWriter
from kedge.errdefs import KedgeError
from tests.unit.archive.tars import chunked, make_tar, members, read_tar


@given(st.lists(members(), max_size=4))
def test_every_entry_survives(written: list[tuple[Entry, bytes]]) -> None:
    assert read_tar(chunked(make_tar(*written), ())) == written


@given(members(), st.data())
def test_any_cut_of_the_stream_is_fine(member: tuple[Entry, bytes], data: st.DataObject) -> None:
    stream = make_tar(member)
    cuts = data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=20))
    assert read_tar(chunked(stream, cuts)) == [member]


def test_split_at_every_byte() -> None:
    entry = Entry("d" * 120 + "é/f", Kind.REGULAR, size=700, mtime_ns=1_500_000_001)
    content = bytes(range(256)) * 3
    member = (entry._replace(size=len(content)), content)
    stream = make_tar(member)
    assert read_tar(chunked(stream, range(len(stream)))) == [member]
    for cut in range(1, len(stream)):
        assert read_tar(chunked(stream, (cut,))) == [member]


@settings(max_examples=50)
@given(st.lists(members(), min_size=1, max_size=3))
def test_tarfile_agrees(written: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(make_tar(*written))) as archive:
        seen = archive.getmembers()
        assert [member.name for member in seen] == [entry.name.rstrip("/") for entry, _ in written]
        for member, (entry, content) in zip(seen, written, strict=True):
            assert member.mode == entry.mode
            assert (member.uid, member.gid) == (entry.uid, entry.gid)
            assert member.linkname == entry.link_target
            if entry.kind is Kind.REGULAR:
                stream = archive.extractfile(member)
                assert stream is not None
                assert stream.read() == content


def test_names_that_are_no_text_survive() -> None:
    name = os.fsdecode(b"caf\xe9/" + b"\xff" * 120)
    member = (Entry(name, Kind.REGULAR), b"")
    assert read_tar(chunked(make_tar(member), ())) == [member]


def test_a_long_ascii_name_needs_no_extension() -> None:
    name = "a" * 90 + "/" + "b" * 90
    stream = make_tar((Entry(name, Kind.REGULAR), b""))
    assert len(stream) == 3 * 512
    assert read_tar(chunked(stream, ()))[0][0].name == name


def test_sparse_files_survive_and_tarfile_reads_them() -> None:
    segments = (Segment(4096, 3), Segment(100_000, 5))
    entry = Entry("dir/sparse-é", Kind.REGULAR, size=1 << 40, segments=segments)
    stream = make_tar((entry, b"abchello"))
    assert len(stream) < 5000
    assert read_tar(chunked(stream, range(0, len(stream), 7))) == [(entry, b"abchello")]
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        member = archive.getmembers()[0]
        assert (member.name, member.size) == (entry.name, 1 << 40)
        content = archive.extractfile(member)
        assert content is not None
        content.seek(100_000)
        assert content.read(5) == b"hello"


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 900)), max_size=60))
def test_sparse_maps_of_any_length_survive(gaps: list[tuple[int, int]]) -> None:
    segments: list[Segment] = []
    offset = 0
    for gap, length in gaps:
        segments.append(Segment(offset + gap, length))
        offset += gap + length
    content = os.urandom(sum(segment.length for segment in segments))
    entry = Entry("s", Kind.REGULAR, size=offset + 1, segments=tuple(segments))
    assert read_tar(chunked(make_tar((entry, content)), ())) == [(entry, content)]


def test_the_same_entries_give_the_same_bytes() -> None:
    first = Entry("f", Kind.REGULAR, xattrs={"user.b": b"2", "user.a": b"1"})
    second = Entry("f", Kind.REGULAR, xattrs={"user.a": b"1", "user.b": b"2"})
    assert make_tar((first, b"")) == make_tar((second, b""))


@settings(max_examples=300)
@given(
    st.lists(members(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_stream_is_read_or_refused(
    written: list[tuple[Entry, bytes]], flips: list[tuple[int, int]]
) -> None:
    segments = (Segment(512, 4), Segment(9000, 4))
    sparse = Entry("sparse", Kind.REGULAR, size=10_000, segments=segments)
    stream = bytearray(make_tar(*written, (sparse, b"datadata")))
    for place, value in flips:
        stream[place % len(stream)] = value
    try:
        seen = len(read_tar(chunked(bytes(stream), ())))
    except KedgeError:
        seen = 0
    assert seen <= len(written) + len(flips) + 1


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120),
    numbers=st.tuples(*[st.integers(0, 8**12) for _ in range(4)]),
    mode=st.integers(0, 0o7777),
)
def test_the_quick_header_of_a_file_is_the_careful_one(
    name: str, numbers: tuple[int, int, int, int], mode: int
) -> None:
    uid, gid, size, seconds = numbers
    fields = (stat.S_IFREG | mode, 1, 1, 1, uid, gid, size, 0, seconds, 0, 0.0, 0.0, 0.0)
    times = (0, seconds * 10**9, 0)
    status = os.stat_result((*fields, *times))
    quick = encode_file(name, status)
    entry = Entry(name, Kind.REGULAR, mode, uid, gid, size, seconds * 10**9)
    careful = encode_entry(entry)
    assert quick in {careful, b""}
    assert quick or len(careful) > 512 or max(numbers) >= 8**7 or len(name) > 100


def test_where_a_stream_is_cut_depends_on_its_content_alone() -> None:
    status = os.stat(__file__)
    content = bytes(status.st_size)
    entry = Entry("f", Kind.REGULAR, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    entry = entry._replace(size=len(content), mtime_ns=status.st_mtime_ns // 10**9 * 10**9)

    class Pieces(list[bytes]):
        def write(self, data: bytes, /) -> None:
            self.append(data)

    quick, careful = Pieces(), Pieces()
    first, second = TarWriter(quick), TarWriter(careful)
    for _ in range(3_000_000 // len(content)):
        assert first.add_file("f", status, content)
        second.add(entry, (content[:100], content[100:]))
    assert first.finish() == second.finish()
    assert quick == careful
    assert {len(piece) for piece in quick[:-1]} == {1 << 20}
