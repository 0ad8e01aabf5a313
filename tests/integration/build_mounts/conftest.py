"""One engine for the mounts of RUN."""

from tests.engine import shared_engine

__all__ = ["shared_engine"]
