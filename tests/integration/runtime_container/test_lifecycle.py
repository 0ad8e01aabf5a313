"""What the specification says of a container's life: hooks that fail, warnings, keyrings."""

import json
import uuid
from collections.abc import Callable

import pytest

from kedge.lib.jsontypes import Json, JsonObject
from kedge.runtime.state import start_time_of
from tests.integration.runtime_container.command import Command
from tests.integration.runtime_container.conftest import Run

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]


def shell_hook(script: str) -> JsonObject:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_hook_that_fails_ends_the_container(
    command: Command, shell_spec: Spec, kind: str
) -> None:
    document = shell_spec("exec sleep 60")
    written = command.bundle / "poststop"
    failing: list[Json] = [shell_hook("exit 1"), shell_hook(f"cat > {written}")]
    document["hooks"] = {kind: [shell_hook("echo no; exit 3")], "poststop": failing}
    command.write(document)
    command("create", "-b", str(command.bundle), "c")
    pid = command.state("c")["pid"]
    assert isinstance(pid, int)
    assert f"{kind} hook /bin/sh failed with 3: no" in command("start", "c", code=1)
    assert "does not exist" in command("state", "c", code=1)
    assert json.loads(written.read_text())["status"] == "stopped"
    assert start_time_of(pid) == 0
    log = [json.loads(line) for line in (command.root / "log").read_text().splitlines()]
    assert ("warning", "poststop hook /bin/sh failed with 1") in [
        (line["level"], line["msg"]) for line in log
    ]


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_run_ends_a_container_whose_hook_fails_once(
    command: Command, shell_spec: Spec, kind: str
) -> None:
    document = shell_spec("exec sleep 60")
    written = command.bundle / "poststop"
    document["hooks"] = {
        kind: [shell_hook("exit 3")],
        "poststop": [shell_hook(f"echo over >> {written}")],
    }
    command.write(document)
    assert f"{kind} hook /bin/sh failed with 3" in command(
        "run", "-b", str(command.bundle), "c", code=1
    )
    assert written.read_text() == "over\n"


def test_a_hook_that_fails_at_create_is_followed_by_poststop(
    command: Command, shell_spec: Spec
) -> None:
    document = shell_spec("true")
    written = command.bundle / "poststop"
    document["hooks"] = {
        "prestart": [shell_hook("exit 4")],
        "poststop": [shell_hook(f"cat > {written}")],
    }
    command.write(document)
    assert "prestart hook /bin/sh failed with 4" in command(
        "create", "-b", str(command.bundle), "c", code=1
    )
    assert json.loads(written.read_text())["id"] == "c"
    assert command("list", "-q") == ""


def test_without_a_process_it_can_be_created_and_not_started(
    command: Command, shell_spec: Spec
) -> None:
    document = shell_spec("")
    del document["process"]
    command.write(document)
    command("create", "-b", str(command.bundle), "c")
    assert "config.json has no process" in command("start", "c", code=1)
    assert command.state("c")["status"] == "created"


def test_a_capability_nobody_can_grant_is_a_warning(command: Command, shell_spec: Spec) -> None:
    document = shell_spec("exit 5")
    process = document["process"]
    assert isinstance(process, dict)
    process["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_OF_TOMORROW"]}
    command.write(document)
    command("--debug", "run", "-b", str(command.bundle), "c", code=5)
    log = [json.loads(line) for line in (command.root / "log").read_text().splitlines()]
    assert log[0]["msg"] == "this host cannot grant CAP_OF_TOMORROW: done without"
    assert [line["level"] for line in log] == ["warning", "debug", "debug", "debug"]


def test_a_session_keyring_of_its_own_or_the_caller_s(command: Command, shell_spec: Spec) -> None:
    document = shell_spec("exec sleep 60")
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["maskedPaths"] = []
    command.write(document)
    for flags, own in (((), True), (("--no-new-keyring",), False)):
        # A name of its own: the kernel lists keyrings for a while after their last use.
        name = f"c-{uuid.uuid4().hex}"
        try:
            command("run", "-d", *flags, "-b", str(command.bundle), name)
            assert (f"_ses.{name}:" in command("exec", name, "cat", "/proc/keys")) is own
        finally:
            command("delete", "--force", name)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("shared", {"shared"}),
        ("rshared", {"shared"}),
        ("private", set[str]()),
        ("unbindable", {"unbindable"}),
    ],
)
def test_propagation_of_the_root(run: Run, shell_spec: Spec, value: str, fields: set[str]) -> None:
    document = shell_spec("cat /proc/self/mountinfo")
    linux = document["linux"]
    assert isinstance(linux, dict)
    linux["rootfsPropagation"] = value
    root = next(
        words for words in map(str.split, run(document).output.splitlines()) if words[4] == "/"
    )
    found = {word.partition(":")[0] for word in root[6 : root.index("-")]}
    assert found - {"master"} == fields
