"""Fixtures of the build tests."""

from tests.engine import bare_engine, engine, shared_engine

__all__ = ["bare_engine", "engine", "shared_engine"]
