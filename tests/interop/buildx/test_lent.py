"""What only the client has: its ssh agent, and who it is at a registry."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.buildx.client import Buildx
from tests.registry import Registry

pytestmark = pytest.mark.interop

# htpasswd -Bbn ann s3cret
_HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"


@pytest.fixture
def private_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry that knows nobody but ann."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    running = Registry(tmp_path / "registry", htpasswd=_HTPASSWD)
    yield running
    running.close()


def test_a_private_registry_meets_the_client(buildx: Buildx, private_registry: Registry) -> None:
    name = f"{private_registry.host}/private/base:1"
    buildx.write({"Dockerfile": "FROM busybox\nRUN echo private > /p\n"})
    refused = buildx.run("build", "-t", name, "--push", ".", check=False)
    assert refused.returncode != 0
    token = base64.b64encode(b"ann:s3cret").decode()
    config = {"auths": {private_registry.host: {"auth": token}}}
    (buildx.config / "config.json").write_text(json.dumps(config))
    buildx.build("-t", name, "--push")
    buildx.run("image", "rm", name)
    buildx.write({"Dockerfile": f"FROM {name}\nCMD cat /p\n"})
    buildx.build("-t", "bx-private")
    assert buildx.output_of("bx-private") == "private\n"


def test_an_agent_is_forwarded(buildx: Buildx, tmp_path: Path) -> None:
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("openssh-client is not installed")
    socket, key = tmp_path / "agent", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    # The host's own ssh-add, with the libraries it needs: busybox cannot speak to a unix socket.
    files = _with_libraries("ssh-add")
    buildx.write({f"root{name}": Path(name).read_bytes() for name in files})
    for name in files:
        (buildx.folder / f"root{name}").chmod(0o755)
    buildx.write(
        {
            "Dockerfile": "FROM busybox\nCOPY root /\n"
            f"RUN --mount=type=ssh {files[0]} -l > /answer\n"
            'RUN test ! -S /run/buildkit/ssh_agent.0 && test -z "$SSH_AUTH_SOCK"\n'
        }
    )
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        environment = {**buildx.environment, "SSH_AUTH_SOCK": str(socket)}
        _wait_for_agent(environment, key)
        buildx.run("build", "--ssh", "default", "-t", "bx-ssh", ".", environment=environment)
    finally:
        agent.terminate()
        agent.wait()
    assert "ED25519" in buildx.output_of("bx-ssh", "cat", "/answer")


def _with_libraries(program: str) -> list[str]:
    """Return the path of a program of the host and those of its libraries."""
    path = shutil.which(program)
    assert path is not None
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    words = listing.split()
    return [path, *(word for word in words if word.startswith("/"))]


def _wait_for_agent(environment: dict[str, str], key: Path) -> None:
    for _ in range(500):
        done = subprocess.run(
            ["ssh-add", "-q", key], env=environment, capture_output=True, check=False
        )
        if done.returncode == 0:
            return
    pytest.fail("the agent did not start")
