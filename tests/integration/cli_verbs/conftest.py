"""Fixtures of the command's tests against a real engine."""

from tests.engine import bare_engine, engine

__all__ = ["bare_engine", "engine"]
