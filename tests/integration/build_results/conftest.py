"""Fixtures of the tests of results."""

from tests.engine import bare_engine

__all__ = ["bare_engine"]
