"""Base images out of real packages, used as people use them."""

import contextlib
import os

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.engine import DOCKER, Engine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(DOCKER is None, reason="the docker CLI is not installed"),
]

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def bootstrap(engine: Engine, name: str) -> list[JsonObject]:
    """Make an image and return every message."""
    with contextlib.closing(engine.client()) as client:
        response = client.request("POST", "/images/bootstrap", {"name": name})
        return list(response.messages())


def make(engine: Engine, name: str) -> str:
    """Make an image and return its id."""
    messages = bootstrap(engine, name)
    assert str(messages[-1].get("status", "")).startswith(f"Status: Made {name}"), messages[-1]
    return str(engine.get(f"/images/{name}/json")["Id"])


def run(engine: Engine, image: str, script: str, *flags: str) -> str:
    return engine.docker(
        "run", "--rm", *flags, image, "sh", "-ec", script, timeout_s=120
    ).stdout.strip()


def test_busybox(mirror_engine: Engine, other_engine: Engine) -> None:
    first = make(mirror_engine, "busybox:latest")
    assert make(other_engine, "busybox:latest") == first
    assert run(mirror_engine, "busybox", "[ $(ls /bin | wc -l) -gt 200 ]; id -un") == "root"


@pytest.fixture(scope="module")
def debian(mirror_engine: Engine) -> str:
    return make(mirror_engine, "debian:bookworm-slim")


def test_debian_is_whole(mirror_engine: Engine, debian: str) -> None:
    assert debian
    script = "dpkg --audit; . /etc/os-release; echo $VERSION_CODENAME; dpkg -l | grep -vc ^ii"
    # Five lines of heading, and every package installed.
    assert run(mirror_engine, "debian:bookworm-slim", script).split() == ["bookworm", "5"]


def test_debian_is_slim(mirror_engine: Engine, debian: str) -> None:
    assert debian
    script = (
        "find /usr/share/doc /usr/share/man /usr/share/locale ! -type d ! -name copyright;"
        " find /var/log /var/cache/apt /var/lib/apt/lists /tmp /run -type f;"
        " find / -xdev -name __pycache__ -o -xdev -name '*.dpkg-*' -o -xdev -path '/etc/*-';"
        " find / -xdev -newermt '1 day ago' -type f ! -path '/etc/host*' ! -path /etc/resolv.conf"
        " ! -path '/proc/*'"
    )
    assert run(mirror_engine, "debian:bookworm-slim", script) == ""


def test_debian_installs_packages(mirror_engine: Engine, debian: str) -> None:
    assert debian
    script = (
        "apt-get update -qq; apt-get install -qq -y --no-install-recommends netcat-openbsd"
        " >/dev/null 2>&1; command -v nc; ls /var/cache/apt/archives/*.deb 2>/dev/null || true"
    )
    assert run(mirror_engine, "debian:bookworm-slim", script) == "/usr/bin/nc"


def test_debian_is_reproducible(mirror_engine: Engine, other_engine: Engine, debian: str) -> None:
    assert make(mirror_engine, "debian:bookworm-slim") == debian
    assert make(other_engine, "debian:bookworm-slim") == debian


def test_python(mirror_engine: Engine) -> None:
    make(mirror_engine, "python:3.11-slim")
    script = (
        "python -c 'import ssl, sqlite3, lzma, sys; print(sys.version_info[:2])';"
        " command -v pip; python -m venv /tmp/v; /tmp/v/bin/pip --version >/dev/null;"
        " pip install -q --no-cache-dir --root-user-action=ignore six; python -c 'import six'"
    )
    flags = []
    if os.path.exists(CA_BUNDLE):
        flags = ["-v", f"{CA_BUNDLE}:/host-ca.crt:ro", "-e", "PIP_CERT=/host-ca.crt"]
    output = run(mirror_engine, "python:3.11-slim", script, *flags)
    assert output.splitlines() == ["(3, 11)", "/usr/bin/pip"]


def test_redis(mirror_engine: Engine) -> None:
    make(mirror_engine, "redis:7")
    mirror_engine.docker("run", "-d", "--name", "store", "redis:7", "--appendonly", "yes")
    script = (
        "for n in 1 2 3 4 5 6 7 8 9; do redis-cli ping >/dev/null 2>&1 && break; sleep 0.2; done;"
        " redis-cli config get appendonly; redis-cli config get protected-mode;"
        " stat -c %U /data/appendonlydir; grep -q 'Uid:.0' /proc/1/status || echo dropped"
    )
    output = mirror_engine.docker("exec", "store", "sh", "-c", script).stdout
    assert output.split() == ["appendonly", "yes", "protected-mode", "no", "redis", "dropped"]


def test_unknown_name_lists_the_recipes(mirror_engine: Engine) -> None:
    with (
        contextlib.closing(mirror_engine.client()) as client,
        pytest.raises(
            Exception, match=r"no recipe for alpine: kedge can make debian:bookworm-slim"
        ),
    ):
        client.request("POST", "/images/bootstrap", {"name": "alpine"})
