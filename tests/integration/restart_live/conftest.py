"""Fixtures of the tests of restart policies and health checks."""

from tests.engine import bare_engine, engine, shared_engine

__all__ = ["bare_engine", "engine", "shared_engine"]
