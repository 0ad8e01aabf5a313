import asyncio
from pathlib import Path

import pytest

from kedge.linux import inotify
from kedge.logdrivers.watch import DirectoryWatcher


def test_readers_of_one_directory_are_all_woken(tmp_path: Path) -> None:
    async def scenario() -> None:
        watcher = DirectoryWatcher()
        with watcher.watch(str(tmp_path)) as one, watcher.watch(str(tmp_path)) as two:
            (tmp_path / "x.log").write_text("new")
            await one.wait()
            await two.wait()
            one.clear()
            await one.wait(0)
        with watcher.watch(str(tmp_path)) as again:
            (tmp_path / "x.log").rename(tmp_path / "x.log.1")
            await again.wait()
        watcher.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_directory_that_goes_away_hurts_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        watcher = DirectoryWatcher()
        directory = tmp_path / "gone"
        directory.mkdir()
        with watcher.watch(str(directory)) as watch:
            directory.rmdir()
            await watch.wait(0.01)
        watcher.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_without_inotify_the_clock_wakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify, "init", refuse)

    async def scenario() -> None:
        watcher = DirectoryWatcher()
        with watcher.watch(str(tmp_path)) as watch:
            await watch.wait()
        watcher.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
