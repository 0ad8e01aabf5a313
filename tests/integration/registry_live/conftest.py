from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kedgeregistry import Client, KedgeRegistry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedgeRegistry]:
    running = KedgeRegistry(tmp_path_factory.mktemp("registry"))
    running.start()
    yield running
    running.close()


@pytest.fixture
def client(registry: KedgeRegistry) -> Iterator[Client]:
    opened = Client(registry.host)
    yield opened
    opened.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[KedgeRegistry]:
    """A registry that the test starts with flags of its own and may kill."""
    made = KedgeRegistry(tmp_path)
    yield made
    made.close()
