"""Fixtures of these tests."""

from tests.engine import bare_engine, engine

__all__ = ["bare_engine", "engine"]
