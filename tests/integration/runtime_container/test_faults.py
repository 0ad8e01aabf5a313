"""Every system call that changes something fails once: nothing is left, whichever it was."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.integration.runtime_container.conftest import CGROUP_PREFIX

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86_64's"),
]


@pytest.mark.parametrize(
    ("command", "least"),
    [("run", 100), ("exec", 20), ("start", 3), ("delete", 3)],
)
def test_nothing_is_left(
    bundle: Path, shell_spec: Callable[[str], JsonObject], command: str, least: int
) -> None:
    state = bundle / "state"
    state.mkdir()
    cgroup = f"{CGROUP_PREFIX}{uuid.uuid4().hex[:12]}"
    document = shell_spec("exec sleep 600" if command == "exec" else "exit 0")
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["cgroupsPath"] = f"/{cgroup}"
    linux["resources"] = {"pids": {"limit": 50}, "memory": {"limit": 64 << 20}}
    (bundle / "config.json").write_text(json.dumps(document))
    driver = "tests.integration.runtime_container.fault_driver"
    words = [sys.executable, "-m", driver, command, str(state), str(bundle), cgroup]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    *left, points = done.stdout.splitlines()
    assert left == []
    assert int(points) > least
