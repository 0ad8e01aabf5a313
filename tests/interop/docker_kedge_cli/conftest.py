"""One engine for the whole module, with a running container, a volume and a network."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, DOCKER, Engine, busybox_context


@pytest.fixture(scope="module")
def both() -> Iterator[Engine]:
    """An engine both clients talk to."""
    if DOCKER is None or BUSYBOX is None:
        pytest.skip("the docker CLI and busybox-static are needed")
    with tempfile.TemporaryDirectory(prefix="e-") as root:
        engine = Engine(Path(root))
        engine.start()
        try:
            engine.build_tar(busybox_context(), "busybox")
            engine.docker("tag", "busybox", "other.example:5000/team/app:1.2")
            engine.docker("volume", "create", "--label", "a=b", "data")
            engine.docker("network", "create", "--label", "c=d", "app")
            engine.docker(
                "run", "-d", "--name", "web", "--label", "x=y", "--network", "app", "-p",
                "127.0.0.1::80", "-v", "data:/data", "busybox", "sh", "-c",
                "echo out; echo err >&2; mkdir /new; echo z > /new/file; ln -s file /new/link; "
                "exec sleep 9999",
            )  # fmt: skip
            engine.docker("create", "--name", "job", "busybox", "sh", "-c", "exit 3")
            engine.docker("start", "-a", "job", check=False)
            yield engine
        finally:
            engine.docker("rm", "-f", "web", "job", check=False)
            engine.docker("network", "rm", "app", check=False)
            assert engine.stop() == 0, engine.log.read_text()
