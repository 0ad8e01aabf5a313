"""Fixtures of these tests."""

from collections.abc import Iterator

import pytest

from tests.engine import Engine, shared_engine

__all__ = ["shared_engine"]


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """One engine for a module, without the containers of earlier tests."""
    yield shared_engine
    names = shared_engine.docker("ps", "-aq").stdout.split()
    if names:
        shared_engine.docker("rm", "-fv", *names)
