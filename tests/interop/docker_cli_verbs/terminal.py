"""The docker CLI at a terminal."""

from tests import terminal
from tests.engine import DOCKER, Engine


class Terminal(terminal.Terminal):
    """The docker CLI on a pseudo terminal of its own."""

    def __init__(self, engine: Engine, *words: str, rows: int = 33, columns: int = 101) -> None:
        assert DOCKER is not None
        super().__init__(
            [DOCKER, "-H", engine.host, *words],
            {"DOCKER_CONFIG": str(engine.root / "docker")},
            rows=rows,
            columns=columns,
        )
