"""The engine is killed at each step of a pull and of a removal; afterwards the store is true."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.pull_faults.conftest import FakeRegistry

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("job", ["pull", "remove"])
def test_killed_at_every_step(registry: FakeRegistry, tmp_path: Path, job: str) -> None:
    registry.push("app", "1", {"a": b"lower", "b": b"b"}, {"a": b"upper" * 1000})
    script = Path(__file__).with_name("crash_child.py")
    command = [sys.executable, str(script), str(tmp_path), f"{registry.host}/app:1", job]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Fewer would mean that the steps are no longer where the test looks for them.
    assert int(done.stdout) > 10
