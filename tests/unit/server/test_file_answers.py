"""Answers that are files, and streams whose length is known."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest

from kedge.server.request import Request
from kedge.server.response import AnyResponse, FileResponse, StreamResponse
from tests.unit.server.harness import Stage, play

LARGE = bytes(range(256)) * 4096


class Files:
    """An application that answers with parts of one file, and keeps what it opened."""

    def __init__(self, path: Path, *, missing_bytes: int = 0) -> None:
        self.path = path
        self.missing_bytes = missing_bytes
        self.opened: list[BinaryIO] = []

    async def __call__(self, request: Request) -> AnyResponse:
        file = self.path.open("rb")
        self.opened.append(file)
        offset = int(request.text("offset", "0"))
        length = self.path.stat().st_size - offset + self.missing_bytes
        return FileResponse(file, offset, length, "application/octet-stream")


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_file_goes_out_whole_and_is_closed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    files = Files(tmp_path / "file")

    async def scenario(stage: Stage) -> None:
        stage.shared.application = files
        client = await stage.connect()
        for _ in range(2):
            got = await client.get("/file")
            assert (got.body, got.headers["content-length"]) == (data, str(len(data)))
        head = await client.ask("HEAD", "/file")
        assert (head.body, head.headers["content-length"]) == (b"", str(len(data)))
        part = await client.get("/file?offset=3") if len(data) > 3 else None
        assert part is None or part.body == data[3:]

    play(scenario)
    assert all(file.closed for file in files.opened)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_a_file_that_is_too_short_cuts_the_connection(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    files = Files(tmp_path / "file", missing_bytes=7)

    async def scenario(stage: Stage) -> None:
        stage.shared.application = files
        client = await stage.connect()
        await client.send(b"GET /file HTTP/1.1\r\nHost: k\r\n\r\n")
        _, headers = await client.answer_head()
        assert headers["content-length"] == str(len(data) + 7)
        assert await client.receive_all() == data

    play(scenario)
    assert all(file.closed for file in files.opened)


def test_a_client_that_vanishes_lets_the_file_go(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE * 8)
    files = Files(tmp_path / "file")

    async def scenario(stage: Stage) -> None:
        stage.shared.application = files
        client = await stage.connect(buffer_bytes=4096)
        await client.send(b"GET /file HTTP/1.1\r\nHost: k\r\n\r\n")
        await client.answer_head()
        client.sock.close()
        await stage.shared.nobody.wait()

    # The stage ends only after all handlers.
    play(scenario)
    assert files.opened[0].closed


def test_a_stream_of_known_length_is_not_chunked() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cde"

    async def application(_request: Request) -> AnyResponse:
        return StreamResponse(pieces(), "text/plain", length=5)

    async def scenario(stage: Stage) -> None:
        stage.shared.application = application
        client = await stage.connect()
        for _ in range(2):
            got = await client.get("/stream")
            assert (got.body, got.headers["content-length"]) == (b"abcde", "5")
            assert "transfer-encoding" not in got.headers

    play(scenario)
