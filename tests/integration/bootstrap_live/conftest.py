"""Fixtures of bootstrap's tests against a real mirror."""

import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.images.bootstrap.mirrors import find_mirrors
from tests.engine import Engine


@pytest.fixture(scope="package")
def reachable_mirror() -> str:
    """The mirror this host would use."""
    url = find_mirrors(os.environ).main
    try:
        with urllib.request.urlopen(f"{url}/dists/bookworm/InRelease", timeout=20) as answer:
            answer.read()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"the package mirror {url} cannot be reached: {error}")
    return url


@pytest.fixture(scope="package")
def mirror_engine(reachable_mirror: str) -> Iterator[Engine]:
    """An engine that makes every image of these tests; downloads are kept between them."""
    assert reachable_mirror
    yield from _engine()


@pytest.fixture
def other_engine(mirror_engine: Engine) -> Iterator[Engine]:
    """A second engine, with nothing in common with the first but the packages it fetched."""
    packages = mirror_engine.root / "data" / "packages"
    yield from _engine(packages if packages.exists() else None)


def _engine(packages: Path | None = None) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="b-") as root:
        engine = Engine(Path(root))
        if packages is not None:
            shutil.copytree(packages, Path(root) / "data" / "packages")
        engine.start()
        try:
            yield engine
        finally:
            assert engine.stop() == 0, engine.log.read_text()
