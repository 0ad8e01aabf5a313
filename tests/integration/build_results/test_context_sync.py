"""A context whose files the engine knows already is not sent again."""

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.cli.buildcontext import open_folder
from kedge.cli.contextsync import synchronized
from tests.engine import BUSYBOX, Engine, busybox_context, running_engine

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with running_engine() as running:
        running.build_tar(busybox_context(), "busybox")
        yield running


def sent(engine: Engine, folder: Path) -> list[str]:
    """Return the files a build of ``folder`` would send now."""
    with contextlib.closing(engine.client()) as client:
        context, told = synchronized(client, open_folder(str(folder), ""))
    assert told["contexttoken"]
    with tarfile.open(fileobj=io.BytesIO(b"".join(context.body))) as archive:
        return archive.getnames()


def test_only_what_changed_is_sent(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM busybox\nCOPY src /src\nRUN cat /src/* > /all\n")
    for number in range(20):
        (folder / "src" / f"f{number:02}").write_text(f"{number}\n")
    (folder / "src" / "link").symlink_to("f00")
    assert len(sent(engine, folder)) == 21
    engine.kedge("build", "-t", "synced", str(folder))
    assert sent(engine, folder) == []
    before = (folder / "src/f03").stat()
    (folder / "src/f03").write_text("x\n")
    os.utime(folder / "src/f03", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "src/f04").unlink()
    (folder / "src/f05").rename(folder / "src/f50")
    os.chmod(folder / "src/f06", 0o600)
    assert sent(engine, folder) == ["src/f03", "src/f06", "src/f50"], "whatever times say"
    engine.kedge("build", "-t", "synced", str(folder))
    shown = engine.kedge("run", "--rm", "synced", "sh", "-c", "ls /src; cat /all").stdout.split()
    assert "f04" not in shown
    assert shown.count("x") == 1
    again = engine.kedge("build", "-t", "synced", str(folder)).stdout
    assert again.count("Using cache") == 2
    engine.kedge("builder", "prune", "-af")
    assert len(sent(engine, folder)) == 20, "a prune forgets contexts"


def test_a_restarted_engine_is_sent_everything_once(bare_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /a\n")
    (tmp_path / "a").write_text("a")
    bare_engine.kedge("build", "-t", "again", str(tmp_path))
    bare_engine.restart_with()
    assert sent(bare_engine, tmp_path) == ["Dockerfile", "a"]
    assert "Using cache" in bare_engine.kedge("build", "-t", "again", str(tmp_path)).stdout
