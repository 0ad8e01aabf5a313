"""Fixtures of these tests."""

from tests.engine import bare_engine

__all__ = ["bare_engine"]
