"""Every flag of every verb of Docker's client that kedge has, read from both clients' help."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kedge.cli.completions import Verb, load_verbs

if TYPE_CHECKING:
    from kedge.cli.flags import Flag

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("docker") is None, reason="the docker CLI is not installed"),
]

_FLAG = re.compile(r"^ +(?:-(?P<short>\w), )?(?:--(?P<name>[\w-]+))(?P<value> \w+)?", re.MULTILINE)
_KEDGE_ONLY = {"image bootstrap", "completion", "system dial-stdio"}
_WINDOWS = "for Windows containers only"
_CLUSTER = "for volumes of a cluster, which no local driver has"
_TRUST = "Docker has taken content trust out of its engine"
_CHECKPOINTS = "an experiment that Docker's engine leaves off"
EXCEPTIONS = {
    **{
        (verb, flag): _WINDOWS
        for verb in ("run", "create", "container run", "container create")
        for flag in ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops", "isolation")
    },
    **{
        (verb, "isolation"): _WINDOWS
        for verb in ("build", "image build", "builder build")
    },
    **{
        (verb, "disable-content-trust"): _TRUST
        for verb in ("run", "create", "container run", "container create", "build", "image build",
                     "builder build", "pull", "image pull", "push", "image push")
    },
    **{
        (verb, flag): _CHECKPOINTS
        for verb in ("start", "container start")
        for flag in ("checkpoint", "checkpoint-dir")
    },
    **{
        ("volume create", flag): _CLUSTER
        for flag in ("availability", "group", "limit-bytes", "required-bytes", "scope", "secret",
                     "sharing", "topology-preferred", "topology-required", "type")
    },
    ("volume ls", "cluster"): _CLUSTER,
    ("manifest annotate", "os-features"): _WINDOWS,
    **{
        (verb, "squash"): "an experiment that Docker's engine leaves off"
        for verb in ("build", "image build", "builder build")
    },
    **{
        (verb, "tree"): "an experiment of Docker's client, without a way to read it by program"
        for verb in ("images", "image ls")
    },
    **{
        (verb, "use-api-socket"): "an experiment: it gives a container the engine and passwords"
        for verb in ("run", "create", "container run", "container create")
    },
}  # fmt: skip
_VERB = re.compile(r"^  ([\w-]+)\*? ", re.MULTILINE)
_COMMANDS = re.compile(r"^[\w ]*Commands:\n((?:  .*\n?)+)", re.MULTILINE)
OUT = (
    "checkpoint", "config", "node", "plugin", "secret", "service", "stack", "swarm", "trust",
)  # fmt: skip
"""Groups of Docker's client that are out of scope (SCOPE.md), or of content trust."""
VERBS = [verb for verb in load_verbs() if verb.path not in _KEDGE_ONLY]


@pytest.fixture(scope="module")
def docker_help(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, str]":
    configuration = tmp_path_factory.mktemp("docker")
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(configuration), "DOCKER_BUILDKIT": "0"
    }  # fmt: skip
    return {verb.path: _help(verb, environment, configuration) for verb in VERBS}


def _help(verb: Verb, environment: "dict[str, str]", folder: Path) -> str:
    done = subprocess.run(
        ["docker", *verb.path.split(), "--help"],
        capture_output=True, text=True, check=True, env=environment, cwd=folder,
    )  # fmt: skip
    return done.stdout.partition("\nOptions:\n")[2]


def test_kedge_has_every_flag_of_docker(docker_help: "dict[str, str]") -> None:
    missing: list[str] = []
    for verb in VERBS:
        ours: dict[str, Flag] = {flag.name: flag for flag in verb.flags}
        for found in _FLAG.finditer(docker_help[verb.path]):
            flag = ours.get(found["name"])
            if flag is None:
                if (verb.path, found["name"]) not in EXCEPTIONS:
                    missing.append(f"{verb.path} --{found['name']}")
            elif found["short"] and flag.short != found["short"]:
                missing.append(f"{verb.path} -{found['short']}")
            elif bool(found["value"]) != bool(flag.metavar):
                missing.append(f"{verb.path} --{found['name']}: switch or value")
    assert not missing, "\n".join(missing)


def test_kedge_has_every_verb_of_docker(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_BUILDKIT": "0"
    }  # fmt: skip

    def verbs(path: list[str]) -> list[str]:
        text = subprocess.run(
            ["docker", *path, "--help"],
            capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
        ).stdout  # fmt: skip
        names = [name for block in _COMMANDS.findall(text) for name in _VERB.findall(block)]
        if not names:
            return [" ".join(path)]
        return [verb for name in names if name not in OUT for verb in verbs([*path, name])]

    theirs = set(verbs([]))
    assert {"run", "container ls", "volume prune", "context create"} <= theirs
    assert theirs - {verb.path for verb in load_verbs()} == set()


def test_no_exception_has_become_needless(docker_help: "dict[str, str]") -> None:
    ours = {(verb.path, flag.name) for verb in VERBS for flag in verb.flags}
    theirs = {
        (path, found["name"])
        for path, text in docker_help.items()
        for found in _FLAG.finditer(text)
    }
    assert set(EXCEPTIONS) & ours == set()
    assert set(EXCEPTIONS) <= theirs
