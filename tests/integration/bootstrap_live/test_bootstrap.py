"""Base images out of real packages, used as people use them."""

import contextlib
import os

import pytest

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import JsonObject
from tests.engine import DOCKER, Engine
from tests.integration.bootstrap_live.conftest import NewEngine

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


def test_busybox(new_engine: NewEngine) -> None:
    with new_engine() as engine:
        first = make(engine, "busybox:latest")
        assert run(engine, "busybox", "[ $(ls /bin | wc -l) -gt 200 ]; id -un") == "root"
    with new_engine() as engine:
        assert make(engine, "busybox:latest") == first


def test_debian(new_engine: NewEngine) -> None:
    with new_engine() as engine:
        make(engine, "debian:bookworm-slim")
        # Five lines of heading, and every package installed.
        script = "dpkg --audit; . /etc/os-release; echo $VERSION_CODENAME; dpkg -l | grep -vc ^ii"
        assert run(engine, "debian:bookworm-slim", script).split() == ["bookworm", "5"]
        assert run(engine, "debian:bookworm-slim", BULK) == ""
        assert run(engine, "debian:bookworm-slim", INSTALL) == "/usr/bin/nc"


def test_debian_is_reproducible(new_engine: NewEngine) -> None:
    with new_engine() as engine:
        first = make(engine, "debian:bookworm-slim")
    with new_engine() as engine:
        assert make(engine, "debian:bookworm-slim") == first


BULK = """
find /usr/share/doc -type f ! -name copyright
find /usr/share/man /usr/share/locale /var/log /var/cache/apt /var/lib/apt/lists /tmp ! -type d
find / -xdev -name __pycache__ -o -xdev -name '*.dpkg-*' -o -xdev -path '/etc/*-'
find /bin/ /etc /lib/ /opt /srv /usr /var -xdev -newermt '1 day ago' -type f \
    ! -path '/etc/host*' ! -path /etc/resolv.conf
"""
INSTALL = """
apt-get update -qq
apt-get install -qq -y --no-install-recommends netcat-openbsd >/dev/null 2>&1
command -v nc
find /var/cache/apt -name '*.deb'
"""


def test_python(new_engine: NewEngine) -> None:
    script = (
        "python -c 'import ssl, sqlite3, lzma, sys; print(sys.version_info[:2])';"
        " command -v pip; python -m venv /tmp/v; /tmp/v/bin/pip --version >/dev/null;"
        " pip install -q --no-cache-dir --root-user-action=ignore six; python -c 'import six'"
    )
    flags: list[str] = []
    if os.path.exists(CA_BUNDLE):
        flags = ["-v", f"{CA_BUNDLE}:/host-ca.crt:ro", "-e", "PIP_CERT=/host-ca.crt"]
    with new_engine() as engine:
        make(engine, "python:3.11-slim")
        output = run(engine, "python:3.11-slim", script, *flags)
    assert output.splitlines() == ["(3, 11)", "/usr/bin/pip"]


def test_redis(new_engine: NewEngine) -> None:
    script = (
        "until redis-cli ping >/dev/null 2>&1; do sleep 0.2; done;"
        " redis-cli config get appendonly; redis-cli config get protected-mode;"
        " stat -c %U /data/appendonlydir; grep -q 'Uid:.0' /proc/1/status || echo dropped"
    )
    with new_engine() as engine:
        make(engine, "redis:7")
        engine.docker("run", "-d", "--name", "store", "redis:7", "--appendonly", "yes")
        output = engine.docker("exec", "store", "sh", "-c", script).stdout
    assert output.split() == ["appendonly", "yes", "protected-mode", "no", "redis", "dropped"]


def test_unknown_name_lists_the_recipes(bare_engine: Engine) -> None:
    with pytest.raises(
        InvalidParameterError, match=r"no recipe for alpine: kedge can make debian:bookworm-slim"
    ):
        bootstrap(bare_engine, "alpine")
