"""What every log driver that can be read back guarantees."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from kedge.api.streams import frame
from kedge.logdrivers.jsonfile import JsonFileReader
from kedge.logdrivers.reading import (
    STDERR,
    STDOUT,
    LogBatch,
    LogReader,
    ReadOptions,
    encode_batches,
)
from kedge.logdrivers.watch import DirectoryWatcher
from kedge.shim.jsonlog import LogFile
from kedge.shim.logconfig import LogConfig

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
EVERYTHING = ReadOptions()


class Driver(Protocol):
    """A log that can be written and read, rotated at 2,000 bytes when small."""

    def write(self, data: bytes, stream: int = STDOUT) -> None: ...
    def reader(self, watcher: DirectoryWatcher) -> LogReader: ...
    def restart(self) -> None: ...


class SteppingClock:
    """One second later each time it is asked."""

    def __init__(self) -> None:
        self.now_ns = START_NS - SECOND_NS

    def time_ns(self) -> int:
        self.now_ns += SECOND_NS
        return self.now_ns

    def monotonic(self) -> float:
        return 0.0


class JsonFileDriver:
    def __init__(self, directory: Path, *, max_size: int, compress: bool = False) -> None:
        path = str(directory / "x.log")
        self._config = LogConfig(path, max_size=max_size, max_files=1000, compress=compress)
        self._clock = SteppingClock()
        self._file: LogFile | None = None

    def write(self, data: bytes, stream: int = STDOUT) -> None:
        if self._file is None:
            self._file = LogFile(self._config, self._clock)
        self._file.write(stream, data)

    def reader(self, watcher: DirectoryWatcher) -> LogReader:
        return JsonFileReader(self._config.path, watcher)

    def restart(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@pytest.fixture(params=["json-file", "json-file-rotated", "json-file-compressed"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    made = JsonFileDriver(
        tmp_path,
        max_size=0 if request.param == "json-file" else 2000,
        compress="compressed" in request.param,
    )
    yield made
    made.restart()


def lines(count: int, start: int = 0) -> list[bytes]:
    return [b"line %d\n" % number for number in range(start, start + count)]


def read(driver: Driver, options: ReadOptions = EVERYTHING) -> bytes:
    reader = driver.reader(DirectoryWatcher())
    return joined(batch for group in reader.read(options) for batch in group)


def joined(batches: Iterator[LogBatch]) -> bytes:
    return b"".join(batch.data for batch in batches)


@contextlib.asynccontextmanager
async def watching() -> AsyncGenerator[DirectoryWatcher]:
    watcher = DirectoryWatcher()
    try:
        yield watcher
    finally:
        watcher.close()


def run(scenario: Callable[[DirectoryWatcher], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30), watching() as watcher:
            await scenario(watcher)

    asyncio.run(bounded())


def test_a_log_that_does_not_exist_yet_is_empty(driver: Driver) -> None:
    assert read(driver) == b""
    assert read(driver, ReadOptions(tail=5)) == b""


def test_everything_comes_back_in_order(driver: Driver) -> None:
    written = lines(500)
    for line in written:
        driver.write(line)
    assert read(driver) == b"".join(written)


def test_text_that_needs_escapes_comes_back_exactly(driver: Driver) -> None:
    data = '\\ "q" <&> \t\r\x00\x7f ü \u2028 \U0001f600\n\\n","stream":"\n\\\n\\\\n\n'.encode()
    driver.write(data * 3)
    assert read(driver) == data * 3


def test_a_long_line_comes_back_exactly(driver: Driver) -> None:
    data = b"x" * 100_000 + b"\nshort\n"
    driver.write(data)
    assert read(driver) == data


@pytest.mark.parametrize("count", [0, 1, 2, 57, 499, 500, 501])
def test_tail_is_the_last_entries(driver: Driver, count: int) -> None:
    written = lines(500)
    for line in written:
        driver.write(line)
    assert read(driver, ReadOptions(tail=count)) == b"".join(
        written[len(written) - min(count, 500) :]
    )


def test_since_and_until_are_inclusive(driver: Driver) -> None:
    written = lines(100)
    for line in written:
        driver.write(line)
    since, until = START_NS + 20 * SECOND_NS, START_NS + 29 * SECOND_NS
    assert read(driver, ReadOptions(since_ns=since, until_ns=until)) == b"".join(written[20:30])
    assert read(driver, ReadOptions(since_ns=since)) == b"".join(written[20:])
    assert read(driver, ReadOptions(until_ns=START_NS - 1)) == b""


@pytest.mark.parametrize("second", [0, 1, 700, 1999, 2000])
def test_since_finds_its_place_in_a_large_log(driver: Driver, second: int) -> None:
    written = lines(2000)
    for line in written:
        driver.write(line)
    since = START_NS + second * SECOND_NS
    assert read(driver, ReadOptions(since_ns=since)) == b"".join(written[second:])


def test_streams_can_be_chosen(driver: Driver) -> None:
    driver.write(b"out\n")
    driver.write(b"err\n", STDERR)
    assert read(driver, ReadOptions(stdout=False)) == b"err\n"
    assert read(driver, ReadOptions(stderr=False)) == b"out\n"


def test_encoded_with_frames_and_stamps(driver: Driver) -> None:
    driver.write(b"one\ntwo\n")
    driver.write(b"bad\n", STDERR)
    reader = driver.reader(DirectoryWatcher())
    batches = [batch for group in reader.read(ReadOptions()) for batch in group]
    assert encode_batches(batches, framed=True) == (
        b"\x01\0\0\0\0\0\0\x08one\ntwo\n\x02\0\0\0\0\0\0\x04bad\n"
    )
    assert encode_batches(batches, framed=False, timestamps=True) == (
        b"2023-11-14T22:13:20.000000000Z one\n"
        b"2023-11-14T22:13:20.000000000Z two\n"
        b"2023-11-14T22:13:21.000000000Z bad\n"
    )


def test_follow_gets_what_is_there_and_what_comes(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        ended = asyncio.Event()
        written = lines(300)
        driver.write(b"".join(written[:10]))
        position = 10
        seen = b""
        async for group in driver.reader(watcher).follow(ReadOptions(), ended):
            seen += joined(iter(group))
            if seen != b"".join(written[:position]):
                continue
            for line in written[position : position + 29]:
                driver.write(line)
            position += 29
            if position >= 300:
                ended.set()
        assert seen == b"".join(written)

    run(scenario)


def test_follow_waits_for_a_log_that_does_not_exist_yet(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        ended = asyncio.Event()

        async def write_later() -> None:
            await asyncio.sleep(0.01)
            driver.write(b"first\n")
            ended.set()

        writing = asyncio.create_task(write_later())
        groups = [group async for group in driver.reader(watcher).follow(ReadOptions(), ended)]
        await writing
        assert joined(batch for group in groups for batch in group) == b"first\n"

    run(scenario)


def test_follow_with_tail_begins_there(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        ended = asyncio.Event()
        driver.write(b"".join(lines(100)))
        seen = b""
        async for group in driver.reader(watcher).follow(ReadOptions(tail=2), ended):
            seen += joined(iter(group))
            if not ended.is_set():
                driver.write(b"more\n")
                ended.set()
        assert seen == b"line 98\nline 99\nmore\n"

    run(scenario)


def test_follow_goes_on_over_a_restart_of_the_writer(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        ended = asyncio.Event()
        driver.write(b"one\n")
        seen = b""
        async for group in driver.reader(watcher).follow(ReadOptions(), ended):
            seen += joined(iter(group))
            if seen == b"one\n":
                driver.restart()
                driver.write(b"two\n")
                ended.set()
        assert seen == b"one\ntwo\n"

    run(scenario)


def test_follow_ends_at_until(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        driver.write(b"one\n")
        options = ReadOptions(until_ns=START_NS + SECOND_NS)
        follow = driver.reader(watcher).follow(options, asyncio.Event())
        assert [joined(iter(group)) async for group in follow] == [b"one\n"]

    run(scenario)


def test_many_followers_lose_nothing_beside_a_fast_writer(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        written = lines(3000)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def write_all() -> None:
            for line in written:
                driver.write(line)
            loop.call_soon_threadsafe(ended.set)

        async def follow() -> bytes:
            groups = driver.reader(watcher).follow(ReadOptions(), ended)
            return joined(iter([batch async for group in groups for batch in group]))

        following = [asyncio.create_task(follow()) for _ in range(3)]
        writer = threading.Thread(target=write_all)
        writer.start()
        for each in await asyncio.gather(*following):
            assert each == b"".join(written)
        writer.join()

    run(scenario)


def test_a_cancelled_follower_lets_go(driver: Driver) -> None:
    async def scenario(watcher: DirectoryWatcher) -> None:
        driver.write(b"one\n")
        started = asyncio.Event()

        async def follow() -> None:
            async for _ in driver.reader(watcher).follow(ReadOptions(), asyncio.Event()):
                started.set()

        task = asyncio.create_task(follow())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)


def test_a_follower_s_lines_are_frames_of_their_own() -> None:
    batches = [
        LogBatch(1, b"T", b"a\r\n"),
        LogBatch(1, b"U", b"b\nrest"),
        LogBatch(2, b"V", b"e\n"),
    ]
    assert encode_batches(batches, framed=True, by_line=True) == (
        frame(1, b"a\r\n") + frame(1, b"b\n") + frame(1, b"rest") + frame(2, b"e\n")
    )
    assert encode_batches([], framed=True, by_line=True) == b""
