"""Fixtures of these tests."""

from tests.engine import shared_engine

__all__ = ["shared_engine"]
