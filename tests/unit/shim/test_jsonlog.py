import json
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.lib.jsontypes import Json, JsonObject
from kedge.shim.jsonlog import PARTIAL_SIZE, LogFile, escape, split_long_lines
from kedge.shim.logconfig import LogConfig
from kedge.shim.luggage import Luggage
from kedge.shim.messages import STDERR, STDOUT

TEXT = st.lists(
    st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1")), st.just("\n"))
).map(lambda parts: "".join(parts).encode())
LINES = st.lists(
    st.one_of(
        st.binary(max_size=60), st.integers(0, 3 * PARTIAL_SIZE).map(lambda size: b"x" * size)
    ),
    max_size=12,
).map(lambda lines: b"".join(line.replace(b"\n", b"") + b"\n" for line in lines))


class FixedClock:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_001

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return 0.0


def escape_like_go(data: bytes) -> str:
    """Do, byte by byte, what moby's `ffjsonWriteJSONBytesAsString` does."""
    out: list[str] = []
    position = 0
    while position < len(data):
        byte = data[position]
        if byte < 0x80:
            out.append(_escape_ascii(byte))
            position += 1
            continue
        for size in (2, 3, 4):
            try:
                character = data[position : position + size].decode()
            except UnicodeDecodeError:
                continue
            out.append({"\u2028": "\\u2028", "\u2029": "\\u2029"}.get(character, character))
            position += size
            break
        else:
            out.append("\\ufffd")
            position += 1
    return "".join(out)


def _escape_ascii(byte: int) -> str:
    named = {0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\", 0x0A: "\n"}
    if byte in named:
        return named[byte]
    if byte < 0x20 or chr(byte) in "<>&":
        return f"\\u{byte:04x}"
    return chr(byte)


def read_entries(path: Path) -> list[dict[str, Json]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def written(path: Path, stream: str = "stdout") -> str:
    return "".join(str(item["log"]) for item in read_entries(path) if item["stream"] == stream)


@given(st.one_of(TEXT, st.binary()))
def test_escapes_byte_for_byte_as_docker_does(data: bytes) -> None:
    assert escape(data).decode() == escape_like_go(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b'<a href="x">&\\\t\r\x00\x7f',
            rb"\u003ca href=\"x\"\u003e\u0026\\\u0009\r\u0000" + b"\x7f",
        ),
        (b"\xe2\x82a", rb"\ufffd\ufffda"),
        (b"\xff\xfe", rb"\ufffd\ufffd"),
        ("ü\ufffd\u2028".encode(), "ü\ufffd\\u2028".encode()),
    ],
)
def test_escape_examples(data: bytes, expected: bytes) -> None:
    assert escape(data) == expected


@settings(deadline=None)
@given(LINES)
def test_pieces_join_and_no_line_is_longer_than_16_kib(lines: bytes) -> None:
    pieces = split_long_lines(lines)
    assert b"".join(pieces) == lines
    for piece in pieces:
        assert all(len(line) <= PARTIAL_SIZE for line in piece.splitlines(keepends=True))
        assert piece.endswith(b"\n") or b"\n" not in piece
        assert piece.endswith(b"\n") or len(piece) > PARTIAL_SIZE - 4 or not lines


def test_cut_does_not_split_a_character(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path)))
    text = "x" + "ü" * PARTIAL_SIZE + "\n"
    log.write(STDOUT, text.encode())
    log.close()
    assert written(path) == text


def test_line_has_dockers_form(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path)), FixedClock())
    log.write(STDERR, b"one\ntwo")
    log.write(STDERR, b" more\n")
    log.close()
    stamp = "2023-11-14T22:13:20.000000001Z"
    assert path.read_text() == (
        f'{{"log":"one\\n","stream":"stderr","time":"{stamp}"}}\n'
        f'{{"log":"two more\\n","stream":"stderr","time":"{stamp}"}}\n'
    )


@settings(deadline=None)
@given(data=TEXT, cuts=st.lists(st.integers(0, 400)), size=st.sampled_from([0, 1, 200, 1000]))
def test_nothing_is_lost_whatever_the_chunks_and_the_rotation(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int], size: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    path = directory / "x.log"
    log = LogFile(LogConfig(str(path), max_size=size, max_files=10_000))
    position = 0
    for cut in [*cuts, len(data)]:
        log.write(STDOUT, data[position : position + cut])
        position += cut
    log.write(STDOUT, data[position:])
    log.close()
    older = len(os.listdir(directory)) - 1
    files = [*(directory / f"x.log.{number}" for number in range(older, 0, -1)), path]
    assert "".join(written(file) for file in files) == data.decode()
    for file in files:
        if size and file.stat().st_size > size:
            assert len(read_entries(file)) == 1


def test_streams_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path)))
    log.write(STDOUT, b"out")
    log.write(STDERR, b"err\n")
    log.write(STDOUT, b"put\n")
    log.close()
    assert (written(path), written(path, "stderr")) == ("output\n", "err\n")


def test_last_line_without_newline_waits_for_flush(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path)))
    log.write(STDOUT, b"prompt> ")
    assert path.read_bytes() == b""
    log.close()
    assert written(path) == "prompt> "


def test_keeps_at_most_max_files(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path), max_size=500, max_files=3))
    for number in range(100):
        log.write(STDOUT, b"line %d\n" % number)
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["x.log", "x.log.1", "x.log.2"]
    assert written(path).endswith("line 99\n")
    assert written(tmp_path / "x.log.1") + written(path) in "".join(
        f"line {number}\n" for number in range(100)
    )


def test_one_file_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(LogConfig(str(path), max_size=200, max_files=1))
    for number in range(20):
        log.write(STDOUT, b"line %d\n" % number)
    log.close()
    assert os.listdir(tmp_path) == ["x.log"]
    assert written(path).endswith("line 19\n")
    assert path.stat().st_size <= 200


def test_half_an_entry_of_a_killed_writer_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"t"}\n{"log":"ha')
    log = LogFile(LogConfig(str(path)))
    log.write(STDOUT, b"next\n")
    log.close()
    first, half, last = path.read_bytes().splitlines()
    assert json.loads(first)["log"] == "whole\n"
    assert half == b'{"log":"ha'
    assert json.loads(last)["log"] == "next\n"


def test_a_full_disk_drops_and_tells_once_but_never_fails() -> None:
    told: list[tuple[int, str]] = []
    log = LogFile(
        LogConfig("/dev/full", max_size=0),
        on_gap=lambda missing, reason: told.append((missing, reason)),
    )
    log.write(STDOUT, b"lost\n")
    log.write(STDERR, b"lost, too\n")
    assert told == [(0, "no space left on device")]
    log.close()


def test_the_first_line_that_fits_again_comes_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    told: list[tuple[int, str]] = []
    log = LogFile(
        LogConfig(str(path)),
        FixedClock(),
        on_gap=lambda missing, reason: told.append((missing, reason)),
    )
    log.write(STDOUT, b"before\n")
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Half an entry fits; what the signal of that limit would do is not the shim's concern.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        log.write(STDOUT, b"lost\n")
        log.write(STDOUT, b"also\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == whole
    log.write(STDOUT, b"after\n")
    log.write(STDOUT, b"later\n")
    log.close()
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    gap = "kedge: 10 bytes of output are missing here: file too large\n"
    assert [(entry["stream"], entry["log"]) for entry in entries] == [
        ("stdout", "before\n"),
        ("stderr", gap),
        ("stdout", "after\n"),
        ("stdout", "later\n"),
    ]
    assert told == [(0, "file too large"), (10, "file too large")]


@given(data=TEXT, cut=st.integers(0, 200))
def test_another_process_goes_on_with_a_log_as_if_there_had_been_one(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    config = LogConfig(str(folder / "x.log"))
    first = LogFile(config, FixedClock())
    first.write(STDERR, b"waits ")
    first.write(STDOUT, data[:cut])
    luggage = Luggage()
    packed = first.try_pack(luggage)
    assert luggage.names() == ["log"]
    assert luggage.waited == []
    copy: JsonObject = json.loads(json.dumps(packed))
    second = LogFile(config, FixedClock(), resumed=(luggage.kept[0], copy))
    second.write(STDOUT, data[cut:])
    second.write(STDERR, b"for this\n")
    second.close()
    entries = [json.loads(line) for line in (folder / "x.log").read_bytes().splitlines()]
    streams = {
        name: "".join(entry["log"] for entry in entries if entry["stream"] == name)
        for name in ("stdout", "stderr")
    }
    lines = (json.loads(f'"{escape_like_go(line)}"') for line in data.split(b"\n"))
    assert streams == {"stdout": "\n".join(lines), "stderr": "waits for this\n"}


def test_a_log_with_a_gap_stays_where_it_is(tmp_path: Path) -> None:
    log = LogFile(LogConfig(str(tmp_path / "x.log")), FixedClock())
    log.close()
    assert log.try_pack(Luggage()) is None
