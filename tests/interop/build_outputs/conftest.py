"""One engine and one registry for every test of outputs and caches."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import shared_engine
from tests.registry import Registry

__all__ = ["shared_engine"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    for tool in ("docker-registry", "skopeo"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install docker-registry skopeo)")
    running = Registry(tmp_path_factory.mktemp("registry") / "r")
    yield running
    running.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a RUN, a COPY and links."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "data").write_text("data\n")
    (folder / "Dockerfile").write_text(
        "FROM busybox\nRUN mkdir /d && echo hi > /d/f && ln /d/f /d/g && ln -s f /d/s\n"
        "COPY data /data\n"
    )
    return folder
