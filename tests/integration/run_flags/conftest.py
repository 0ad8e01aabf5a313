"""Fixtures of these tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, busybox_context

CDI = """{"cdiVersion": "0.6.0", "kind": "vendor.com/box", "devices": [{"name": "one",
"containerEdits": {"env": ["BOX=one"], "additionalGids": [77],
"deviceNodes": [{"path": "/dev/box", "hostPath": "/dev/net/tun", "permissions": "rw"}],
"mounts": [{"hostPath": "/etc/passwd", "containerPath": "/box/passwd", "options": ["ro"]}]
}}]}"""


@pytest.fixture(scope="module")
def flags_engine() -> Iterator[Engine]:
    """An engine with a CDI device and a registered runtime, for a whole module."""
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    with tempfile.TemporaryDirectory(prefix="f-") as root:
        (Path(root) / "cdi").mkdir()
        (Path(root) / "cdi/box.json").write_text(CDI)
        engine = Engine(
            Path(root), "--cdi-spec-dir", f"{root}/cdi", "--add-runtime", "other=/usr/bin/other"
        )
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            # The default bridge and the packet filter's table are there from the first start on.
            engine.docker("run", "--rm", "busybox", "true")
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()


@pytest.fixture
def engine(flags_engine: Engine) -> Iterator[Engine]:
    """The same, without the containers of earlier tests."""
    yield flags_engine
    names = flags_engine.docker("ps", "-aq").stdout.split()
    if names:
        flags_engine.docker("rm", "-f", *names)
