import io
import tarfile

import pytest

from kedge.archive.entry import Entry, Kind
from kedge.archive.header import BLOCK, encode_entry, padding
from kedge.archive.pax import decode_pax, encode_pax
from kedge.archive.reader import TarReader
from kedge.errdefs import DataLossError, InvalidParameterError
from tests.unit.archive.tars import chunked, make_tar, read_tar

END = bytes(2 * BLOCK)


def pax_header(records: dict[bytes, bytes], type_flag: bytes = b"x") -> bytes:
    """Return the blocks of an extended header as other writers make it."""
    payload = encode_pax(records)
    block = bytearray(encode_entry(Entry("PaxHeader", Kind.REGULAR, size=len(payload))))
    return resum(block, type_flag) + payload + padding(len(payload))


def resum(block: bytearray, type_flag: bytes) -> bytes:
    """Return a header block with another type and the checksum that fits."""
    block[156:157] = type_flag
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_gnu_long_names_written_by_tarfile() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("n" * 400)
        info.type = tarfile.SYMTYPE
        info.linkname = "t" * 300
        archive.addfile(info)
        big = tarfile.TarInfo("big-ids")
        big.uid = 1 << 31
        big.size = 3
        archive.addfile(big, io.BytesIO(b"abc"))
    [(link, _), (file, content)] = read_tar(chunked(out.getvalue(), ()))
    assert (link.name, link.link_target, link.kind) == ("n" * 400, "t" * 300, Kind.SYMLINK)
    assert (file.uid, content) == (1 << 31, b"abc")


def test_pax_records_override_the_header() -> None:
    stream = (
        pax_header(
            {
                b"path": "größe".encode(),
                b"size": b"5",
                b"uid": b"70000",
                b"mtime": b"12.5",
                b"SCHILY.xattr.security.capability": b"\1\0\n=\2",
                b"LIBARCHIVE.xattr.user.a%20b": b"aGVsbG8",
            }
        )
        + encode_entry(Entry("short", Kind.REGULAR, size=0))
        + b"hello"
        + padding(5)
        + END
    )
    [(entry, content)] = read_tar(chunked(stream, ()))
    assert (entry.name, entry.uid, entry.mtime_ns) == ("größe", 70000, 12_500_000_000)
    assert entry.xattrs == {"security.capability": b"\1\0\n=\2", "user.a b": b"hello"}
    assert content == b"hello"


def test_global_records_hold_until_replaced() -> None:
    stream = (
        pax_header({b"uid": b"7", b"mtime": b"1"}, b"g")
        + encode_entry(Entry("a", Kind.REGULAR))
        + pax_header({b"uid": b"8"})
        + encode_entry(Entry("b", Kind.REGULAR))
        + encode_entry(Entry("c", Kind.REGULAR))
        + END
    )
    entries = [entry for entry, _ in read_tar(chunked(stream, ()))]
    assert [entry.uid for entry in entries] == [7, 8, 7]
    assert [entry.mtime_ns for entry in entries] == [1_000_000_000] * 3


def test_links_and_devices_have_no_content_whatever_the_size_says() -> None:
    block = bytearray(encode_entry(Entry("link", Kind.HARD_LINK, link_target="x")))
    block[124:136] = b"00000001000\0"
    stream = resum(block, b"1") + encode_entry(Entry("next", Kind.REGULAR)) + END
    assert [entry.name for entry, _ in read_tar(chunked(stream, ()))] == ["link", "next"]


def test_a_v7_directory_is_told_by_its_slash() -> None:
    stream = resum(bytearray(encode_entry(Entry("dir/", Kind.REGULAR))), b"\0") + END
    assert read_tar(chunked(stream, ()))[0][0].kind is Kind.DIRECTORY


def test_a_signed_checksum_is_accepted() -> None:
    block = bytearray(encode_entry(Entry("x", Kind.REGULAR)))
    block[0:1] = b"\xe9"
    block[148:156] = b" " * 8
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert read_tar(chunked(bytes(block) + END, ()))[0][0].name == "\udce9"


def test_the_stream_may_end_without_a_mark() -> None:
    stream = make_tar((Entry("a", Kind.REGULAR, size=3), b"abc"))[: -2 * BLOCK]
    assert len(read_tar(chunked(stream, ()))) == 1
    assert read_tar(chunked(b"", ())) == []


def test_what_follows_the_mark_is_drained() -> None:
    read_chunk = chunked(make_tar() + b"trailing garbage" * 100, (5, 600))
    reader = TarReader(read_chunk)
    assert list(reader) == []
    reader.drain()
    assert read_chunk() == b""


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1023])
def test_truncated(cut: int) -> None:
    stream = make_tar((Entry("a", Kind.REGULAR, size=600), b"a" * 600))[:cut]
    with pytest.raises(DataLossError, match="sha256:abc: the tar stream is truncated"):
        list(TarReader(chunked(stream, ()), name="sha256:abc"))


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"#!/bin/sh\n" * 100, id="no tar"),
        pytest.param(b"\x1f\x8b" + bytes(2000), id="gzip"),
        pytest.param(
            pax_header({b"path": b"a\0b"}) + encode_entry(Entry("a", Kind.REGULAR)), id="nul"
        ),
        pytest.param(
            pax_header({b"size": b"-1"}) + encode_entry(Entry("a", Kind.REGULAR)), id="size"
        ),
        pytest.param(
            pax_header({b"mtime": b"x"}) + encode_entry(Entry("a", Kind.REGULAR)), id="time"
        ),
        pytest.param(resum(bytearray(encode_entry(Entry("a", Kind.REGULAR))), b"M"), id="volume"),
        pytest.param(
            resum(bytearray(encode_entry(Entry("a", Kind.REGULAR, size=1 << 30))), b"x"),
            id="huge pax",
        ),
        pytest.param(
            pax_header({b"GNU.sparse.size": b"10", b"GNU.sparse.map": b"5,10"})
            + encode_entry(Entry("a", Kind.REGULAR, size=10)),
            id="sparse beyond its end",
        ),
        pytest.param(
            pax_header({b"GNU.sparse.size": b"10", b"GNU.sparse.map": b"5,2,1,1"})
            + encode_entry(Entry("a", Kind.REGULAR, size=3)),
            id="sparse backwards",
        ),
    ],
)
def test_damaged(stream: bytes) -> None:
    with pytest.raises(InvalidParameterError, match=r"^archive: "):
        read_tar(chunked(stream + END, ()))


@pytest.mark.parametrize(
    "payload", [b"x", b"5 a=b", b"0 a=b\n", b"6 a=b\n7 =b\n", b"7 abcd\n", b"99 a=b\n"]
)
def test_damaged_pax_records(payload: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="pax record"):
        decode_pax(payload)


def test_repeated_sparse_records_become_one_map() -> None:
    payload = b"".join(
        encode_pax({key: value})
        for key, value in (
            (b"GNU.sparse.size", b"100"),
            (b"GNU.sparse.offset", b"10"),
            (b"GNU.sparse.numbytes", b"2"),
            (b"GNU.sparse.offset", b"50"),
            (b"GNU.sparse.numbytes", b"1"),
        )
    )
    assert decode_pax(payload)[b"GNU.sparse.map"] == b"10,2,50,1"
