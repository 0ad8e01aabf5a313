"""Fixtures of these tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import DOCKER, Engine, shared_engine
from tests.interop.buildx.client import Buildx
from tests.registry import Registry
from tests.testtools import missing_plugins

__all__ = ["shared_engine"]


@pytest.fixture
def buildx(shared_engine: Engine, tmp_path: Path) -> Buildx:
    """The docker CLI with buildx in a folder of its own."""
    if DOCKER is None:
        pytest.skip("the docker CLI is not installed")
    if reason := missing_plugins("docker-buildx", "docker-compose"):
        pytest.skip(reason)
    folder = tmp_path / "work"
    folder.mkdir()
    return Buildx(shared_engine, folder)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Debian's registry on the loopback."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    running = Registry(tmp_path / "registry")
    yield running
    running.close()
