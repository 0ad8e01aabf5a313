from collections.abc import Iterator

from kedge.client.http import EngineClient, Query, Response
from kedge.compose.loglines import LogLine, merged, read_lines

FIRST = b"2026-11-29T06:00:00.000000001Z"
SECOND = b"2026-11-29T06:00:00.000000002Z"


class FakeClient(EngineClient):
    def __init__(self, content_type: str, *chunks: bytes) -> None:
        super().__init__()
        self.answer = Response(200, {"content-type": content_type}, iter(chunks))
        self.asked: dict[str, object] = {}

    def get(self, path: str, query: "Query | None" = None) -> Response:
        self.asked = {"path": path, **(query or {})}
        return self.answer


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def read(*chunks: bytes, tty: bool = False) -> list[LogLine]:
    kind = (
        "application/vnd.docker.raw-stream" if tty else "application/vnd.docker.multiplexed-stream"
    )
    client = FakeClient(kind, *chunks)
    lines = list(read_lines(client, "id", "web-1", {"tail": "all"}))
    assert client.asked == {"path": "/containers/id/logs", "tail": "all", "timestamps": True}
    return lines


def test_lines_have_their_stream_and_stamp() -> None:
    data = frame(1, FIRST + b" one\n") + frame(2, SECOND + b" two three\n")
    expected = [LogLine(FIRST, "web-1", 1, b"one"), LogLine(SECOND, "web-1", 2, b"two three")]
    assert read(data) == expected
    assert read(*(data[at : at + 1] for at in range(len(data)))) == expected


def test_a_terminals_log_is_raw_and_may_end_without_a_newline() -> None:
    assert read(FIRST + b" one\r\n" + SECOND + b" tw", b"o", tty=True) == [
        LogLine(FIRST, "web-1", 1, b"one\r"),
        LogLine(SECOND, "web-1", 1, b"two"),
    ]


def test_the_pieces_of_a_long_line_have_stamps_that_are_not_shown() -> None:
    piece = b"x" * 16384
    data = b"%b %b%b %b%b tail\n" % (FIRST, piece, FIRST, piece, SECOND)
    assert read(data, tty=True) == [LogLine(FIRST, "web-1", 1, piece + piece + b"tail")]


def test_sources_are_merged_by_time_and_stay_in_order() -> None:
    def source(name: str, *stamps: bytes) -> Iterator[LogLine]:
        return (LogLine(stamp, name, 1, b"%d" % at) for at, stamp in enumerate(stamps))

    found = merged([source("a", SECOND, SECOND), source("b", FIRST, SECOND)])
    assert [(line.name, line.text) for line in found] == [
        ("b", b"0"), ("a", b"0"), ("a", b"1"), ("b", b"1")
    ]  # fmt: skip
