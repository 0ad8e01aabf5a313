"""Fixtures of the crash tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, bare_engine, busybox_context, engine

__all__ = ["bare_engine", "engine", "other"]


@pytest.fixture
def other() -> Iterator[Engine]:
    """A second engine beside the first, with the image ``busybox``."""
    with tempfile.TemporaryDirectory(prefix="o-") as root:
        other = Engine(Path(root))
        other.start()
        try:
            other.build_tar(busybox_context(), "busybox")
            yield other
        finally:
            assert other.stop() == 0, other.log.read_text()
