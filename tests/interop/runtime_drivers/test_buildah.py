"""``buildah --runtime kedge-runtime``: steps of a build and commands in a working container."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.runtime_drivers.conftest import RUNTIME, Driver

pytestmark = pytest.mark.interop

CHOICE = ("--isolation", "oci", "--runtime", str(RUNTIME), "--network", "none")


@pytest.fixture
def working(buildah: Driver) -> Iterator[str]:
    name = buildah.says("from", "--name", "work", f"docker-archive:{buildah.root}/box.tar")
    yield name
    buildah("rm", name)


def test_commands_in_a_working_container(buildah: Driver, working: str) -> None:
    script = "echo made > /made; id -u; exit 5"
    assert buildah("run", *CHOICE, working, "sh", "-c", script, code=5).stdout == "0\n"
    assert buildah.says("run", *CHOICE, "--user", "web", working, "cat", "/made") == "made"
    said = buildah("run", *CHOICE, working, "nosuch", code=1).stderr
    assert 'exec: "nosuch": executable file not found in $PATH' in said
    with buildah.at_terminal("run", "-t", *CHOICE, working, "tty") as terminal:
        terminal.expect("/dev/pts/0")
        assert terminal.wait() == 0


def test_a_build(buildah: Driver, working: str, tmp_path: Path) -> None:
    buildah("commit", working, "localhost/base")
    (tmp_path / "Dockerfile").write_text(
        "FROM localhost/base\nRUN --mount=type=tmpfs,target=/t echo x > /t/x && cp /t/x /x\n"
        "USER web\nRUN id -u\n"
    )
    said = buildah("bud", *CHOICE, "--pull-never", "-t", "localhost/made", str(tmp_path))
    assert "\n100\n" in said.stdout
    buildah("rmi", "localhost/made", "localhost/base")
