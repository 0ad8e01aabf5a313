"""One engine for all tests of this folder: they only talk to it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, busybox_context


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="e-") as root:
        made = Engine(Path(root))
        made.start()
        try:
            made.build_tar(busybox_context(), "busybox")
            yield made
        finally:
            assert made.stop() == 0, made.log.read_text()
