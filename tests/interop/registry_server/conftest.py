from tests.engine import bare_engine, engine

__all__ = ["bare_engine", "engine"]
