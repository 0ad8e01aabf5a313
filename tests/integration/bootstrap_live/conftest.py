"""Fixtures of bootstrap's tests against a real mirror."""

import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from kedge.images.bootstrap.mirrors import find_mirrors
from tests.engine import Engine, bare_engine

__all__ = ["bare_engine", "kept_packages", "new_engine", "reachable_mirror"]

NewEngine = Callable[[], AbstractContextManager[Engine]]


@pytest.fixture(scope="module")
def reachable_mirror() -> str:
    """The mirror this host would use."""
    url = find_mirrors(os.environ).main
    try:
        with urllib.request.urlopen(f"{url}/dists/bookworm/InRelease", timeout=20) as answer:
            answer.read()
    except OSError as error:
        pytest.skip(f"the package mirror {url} cannot be reached: {error}")
    return url


@pytest.fixture(scope="module")
def kept_packages() -> Iterator[Path]:
    """What engines of these tests have fetched, so that each package is fetched once."""
    with tempfile.TemporaryDirectory(prefix="p-") as root:
        yield Path(root)


@pytest.fixture
def new_engine(reachable_mirror: str, kept_packages: Path) -> NewEngine:
    """Starts engines that share nothing but the packages they fetched."""
    assert reachable_mirror

    @contextmanager
    def start() -> Generator[Engine, None, None]:
        with tempfile.TemporaryDirectory(prefix="b-") as root:
            engine = Engine(Path(root))
            packages = Path(root) / "data" / "packages"
            shutil.copytree(kept_packages, packages)
            engine.start()
            try:
                yield engine
                shutil.copytree(packages, kept_packages, dirs_exist_ok=True)
            finally:
                assert engine.stop() == 0, engine.log.read_text()

    return start
