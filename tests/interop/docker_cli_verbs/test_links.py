"""``--link`` on the default bridge, and ``rm --link``."""

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.interop


def test_a_link_tells_of_the_other_container(engine: Engine) -> None:
    engine.docker(
        "run",
        "-d",
        "--name",
        "db",
        "--expose",
        "6379",
        "-e",
        "SECRET=x",
        "busybox",
        "sleep",
        "1000",
    )
    engine.docker("run", "-d", "--name", "web", "--link", "db:store", "busybox", "sleep", "1000")
    address = engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").stdout.strip()
    environment = engine.docker("exec", "web", "cat", "/proc/1/environ").stdout.split("\0")
    assert f"STORE_PORT=tcp://{address}:6379" in environment
    assert {"STORE_NAME=/web/store", "STORE_ENV_SECRET=x"} <= set(environment)
    hosts = engine.docker("exec", "web", "cat", "/etc/hosts").stdout
    assert f"{address}\tstore " in hosts
    links = "{{json .HostConfig.Links}}"
    assert engine.docker("ps", "--format", "{{.Names}}").stdout == "web\ndb\n"
    names = engine.docker("ps", "--no-trunc", "--format", "{{.Names}}", "-f", "name=store").stdout
    assert names == "db,web/store\n"
    assert engine.docker("inspect", "-f", "{{.Name}}", "web/store").stdout == "/db\n"
    assert engine.docker("inspect", "-f", links, "web").stdout == '["/db:/web/store"]\n'
    engine.docker("rename", "db", "data")
    assert engine.docker("inspect", "-f", links, "web").stdout == '["/data:/web/store"]\n'

    # Another one takes the address while the linked container is down.
    engine.docker("stop", "-t", "0", "data")
    engine.docker("run", "-d", "--name", "thief", "busybox", "sleep", "1000")
    engine.docker("start", "data")
    moved = engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "data").stdout.strip()
    lines = engine.docker("exec", "web", "cat", "/etc/hosts").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines if "\tstore " in line] == [moved]
    assert "1 packets received" in engine.docker("exec", "web", "ping", "-c1", "store").stdout

    engine.docker("rm", "--link", "web/store")
    assert engine.docker("inspect", "-f", links, "web").stdout in {"null\n", "[]\n"}
    assert "store" not in engine.docker("exec", "web", "cat", "/etc/hosts").stdout
    assert engine.docker("exec", "web", "ping", "-c1", "store", check=False).returncode != 0
    assert engine.docker("ps", "-q").stdout.count("\n") == 3


def test_links_that_cannot_be(engine: Engine) -> None:
    def refused(*words: str) -> str:
        done = engine.docker(*words, check=False)
        assert done.returncode
        return done.stderr

    run = ("run", "-d", "--link")
    assert "could not get container for nobody" in refused(*run, "nobody", "busybox", "true")
    engine.docker("create", "--name", "idle", "busybox", "true")
    said = refused(*run, "idle:i", "--name", "web", "busybox", "true")
    assert "Cannot link to a non running container: /idle AS /web/i" in said
    engine.docker("run", "-d", "--name", "host", "--network", "host", "busybox", "sleep", "1000")
    assert "host type networking can't be used with links" in refused(
        *run, "host", "busybox", "true"
    )
    assert "cannot remove the default link name" in refused("rm", "--link", "idle")
    assert "No such link: web/x" in refused("rm", "--link", "web/x")
    assert "cannot get parent /nobody for link name" in refused("rm", "--link", "nobody/x")
