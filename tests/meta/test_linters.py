"""Linters, types and import contracts are tests: what they find fails like anything else."""

import os
import subprocess
import sys
import tomllib

import pytest

from kedge.lib.jsontypes import Json
from tests.meta.repository import ROOT, SOURCE

BIN = os.path.dirname(sys.executable)
_TIMEOUT_S = 600

TOOLS = {
    "ruff": ["ruff", "check", "--quiet", "--output-format=concise", "."],
    "ruff-format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy", "--no-error-summary"],
    "basedpyright": ["basedpyright", "--level", "error"],
    "import-linter": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("name", list(TOOLS))
def test_it_finds_nothing(name: str) -> None:
    program, *arguments = TOOLS[name]
    path = os.path.join(BIN, program)
    if not os.path.exists(path):
        pytest.fail(f"{program} is not installed beside {sys.executable}: run make install-dev")
    result = subprocess.run(
        [path, *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        # node's and Python's colours only hide the words
        env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0"},
    )
    assert result.returncode == 0, f"{program}:\n{result.stdout}{result.stderr}"


def contracts() -> dict[str, dict[str, Json]]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        document = tomllib.load(stream)
    return {one["name"]: one for one in document["tool"]["importlinter"]["contracts"]}


def test_every_package_is_under_the_contracts() -> None:
    """A package that no contract names would be free of all of them."""
    packages = {
        path.name for path in (SOURCE / "kedge").iterdir() if (path / "__init__.py").exists()
    }
    ctypes_contract = contracts()["ctypes lives in kedge.linux"]
    named = ctypes_contract["source_modules"]
    assert isinstance(named, list)
    missing = {f"kedge.{name}" for name in packages - {"linux"}} - {str(name) for name in named}
    assert missing == set(), "name these in pyproject.toml's import contracts"
