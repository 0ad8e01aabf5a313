"""One engine for all tests here; each uses names of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, bare_engine, busybox_context

__all__ = ["bare_engine", "engine"]

DOCKERFILE = """FROM busybox
RUN mkdir -p /vol/sub && echo content >/vol/sub/f && ln -s sub /vol/link \\
 && chown -R 100:101 /vol && chmod 750 /vol
VOLUME /vol
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A running engine with ``busybox`` and ``seeded``, which has content in its VOLUME."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="e-") as root:
        engine = Engine(Path(root))
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            engine.build(DOCKERFILE, "seeded")
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()
