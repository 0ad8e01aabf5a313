import json
import os
from pathlib import Path

import pytest

from kedge.errdefs import HookFailedError
from kedge.oci.runtime_spec.types import Hook, Spec
from kedge.runtime.hooks import run_every_hook, run_hooks, state_document, state_seen_inside

SH = "/bin/sh"


def test_a_hook_reads_the_state_and_has_its_own_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = Hook(SH, ("sh", "-c", f'cat > {out}; echo "$A" >> {out}'), ("A=b",))
    state = state_document(Spec("1.2.0"), container_id="c", bundle="/b", status="creating", pid=7)
    run_hooks("prestart", (hook,), state)
    assert out.read_text().endswith("b\n")
    assert '"status": "creating"' in out.read_text()


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (Hook(SH, ("sh", "-c", "echo out of luck >&2; exit 3")), "failed with 3: out of luck"),
        (Hook("/no/such/hook"), "prestart hook /no/such/hook: no such file"),
    ],
)
def test_failures_say_which_hook_and_why(hook: Hook, text: str) -> None:
    with pytest.raises(HookFailedError, match=text):
        run_hooks("prestart", (hook._replace(env=("PATH=/bin:/usr/bin",)),), b"{}")


def test_every_hook_is_run_though_one_fails(tmp_path: Path) -> None:
    last = Hook(SH, ("sh", "-c", f"echo > {tmp_path}/ran"))
    assert run_every_hook("poststop", (Hook("/bin/false"), last), b"{}") == [
        "poststop hook /bin/false failed with 1"
    ]
    assert (tmp_path / "ran").exists()


def test_hooks_inside_are_told_the_pid_of_their_namespace() -> None:
    state = state_document(Spec("1.3.0"), container_id="c", bundle="/b", status="creating", pid=1)
    document = json.loads(state_seen_inside(state, "created"))
    assert (document["pid"], document["status"], document["id"]) == (os.getpid(), "created", "c")
