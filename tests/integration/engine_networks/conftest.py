"""Fixtures of the tests of user-defined networks."""

from tests.engine import bare_engine, engine, shared_engine

__all__ = ["bare_engine", "engine", "shared_engine"]
