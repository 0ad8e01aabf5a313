"""An engine of canned answers, and Docker's configuration folder in an empty place."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine, Run

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def docker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of contexts and passwords: that of whoever runs the tests is not looked at."""
    for name in ("KEDGE_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker"


@pytest.fixture
def fake(session_directory: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(session_directory / f"f{next(_NUMBERS)}")
    yield engine
    engine.close()


@pytest.fixture
def kedge(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command against the fake; return exit code, output and errors."""

    def run(*words: str) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["-H", fake.host, *words])
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run
