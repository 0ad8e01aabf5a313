"""Fixtures of the build tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, bare_engine, busybox_context, engine

__all__ = ["bare_engine", "engine", "shared_engine"]


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    """One engine for builds that fail; each leaves it as it was."""
    with tempfile.TemporaryDirectory(prefix="s-") as root:
        engine = Engine(Path(root))
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            # The bridge comes with the first container and stays until the engine goes.
            engine.docker("run", "--rm", "busybox", "true")
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()
