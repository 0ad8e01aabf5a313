"""One engine for the language of builds."""

from tests.engine import shared_engine

__all__ = ["shared_engine"]
