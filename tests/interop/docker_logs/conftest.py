"""An engine on a host with a journal: systemd's own, on a /run that only the two of them see."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, busybox_context

_JOURNALD = Path("/lib/systemd/systemd-journald")
_SOCKET = "/run/systemd/journal/socket"
_WITH_RUN = (
    f"mount -t tmpfs run /run && mkdir -p /run/systemd/journal /run/log/journal && exec {_JOURNALD}"
)


@contextlib.contextmanager
def _journal() -> Generator[tuple[str, ...]]:
    """Run journald; yield the words that start a program where it is."""
    service = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _WITH_RUN],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not Path(f"/proc/{service.pid}/root{_SOCKET}").exists():
            assert service.poll() is None, "journald did not start"
            assert time.monotonic() < deadline, "journald does not listen"
            time.sleep(0.01)
        yield ("nsenter", "--target", str(service.pid), "--mount")
    finally:
        service.kill()
        service.wait()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    if not _JOURNALD.exists() or shutil.which("journalctl") is None:
        pytest.skip("systemd is not installed")
    with tempfile.TemporaryDirectory(prefix="e-") as root, _journal() as words:
        engine = Engine(Path(root))
        engine.before = words
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()
