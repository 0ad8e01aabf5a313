"""Fixtures of the tests of ``kedge compose`` against a real engine."""

from tests.composeproject import project
from tests.engine import bare_engine, engine, shared_engine

__all__ = ["bare_engine", "engine", "project", "shared_engine"]
