"""A wrong config.json, or one that wants more than this host has: one line, and nothing left."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kedge.lib.jsontypes import Json, JsonObject
from tests.integration.runtime_container.command import Command

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]
REPO = Path(__file__).parents[3]
SHARED = Path(os.environ.get("KEDGE_SHARED_DATA", REPO.parent / "shared/data"))
VECTORS = sorted((SHARED / "oci-runtime-schema/test/config/bad").glob("linux-*.json"))


def is_clean(command: Command) -> bool:
    """Tell whether there is neither a container nor a directory made for one."""
    folders = [path for path in command.root.iterdir() if path.is_dir()]
    return not folders and command("list", "-q") == ""


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_the_schema_s_bad_examples(command: Command, path: Path) -> None:
    (command.bundle / "config.json").write_text(path.read_text())
    said = command("create", "-b", str(command.bundle), "c", code=1)
    assert "linux." in said
    assert said.count("\n") == 1
    assert is_clean(command)


def limit(name: str, hard: int) -> Json:
    return [{"type": name, "soft": 1, "hard": hard}]


@pytest.mark.parametrize(
    ("where", "value", "text"),
    [
        (("ociVersion",), "3.0.0", "config.json.ociVersion"),
        (("process", "args"), [1], "config.json.process.args[0]"),
        (("process", "rlimits"), limit("RLIMIT_TEST", 1), "RLIMIT_TEST"),
        (("process", "rlimits"), limit("RLIMIT_NOFILE", 1 << 40), "RLIMIT_NOFILE"),
        (("linux", "namespaces"), [{"type": "net"}], "config.json.linux.namespaces[0].type"),
        (("linux", "resources", "memory"), {"limit": "1g"}, "linux.resources.memory.limit"),
        (("linux", "resources", "memory"), {"limit": 1 << 30, "swap": 1}, "memory"),
        (("linux", "resources", "unified"), {"../x": "1"}, "linux.resources.unified"),
        (("linux", "resources", "cpu"), {"cpus": "4000"}, "cpuset.cpus"),
        (("linux", "intelRdt"), {"closID": "x"}, "linux.intelRdt is not supported"),
        (("linux", "memoryPolicy"), {"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes"),
        (("linux", "seccomp"), {"defaultAction": "x"}, "linux.seccomp.defaultAction"),
        (("mounts",), [{"destination": "/x", "type": "nosuchfs"}], "no 'nosuchfs' file system"),
        (("hooks",), {"prestart": [{"path": "/no/such"}]}, "prestart hook /no/such"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    command: Command, shell_spec: Spec, where: tuple[str, ...], value: Json, text: str
) -> None:
    document = shell_spec("true")
    place = document
    for name in where[:-1]:
        inner = place.setdefault(name, {})
        assert isinstance(inner, dict)
        place = inner
    place[where[-1]] = value
    command.write(document)
    said = command("run", "-b", str(command.bundle), "c", code=1)
    assert text in said
    assert said.count("\n") == 1
    assert is_clean(command)
