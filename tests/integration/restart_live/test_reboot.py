"""After a reboot containers come back as their policies say, in the order Compose asks for."""

from pathlib import Path

import pytest

from tests.composeproject import Project
from tests.engine import Engine, page
from tests.integration.engine_crash.truth import assert_true, state, status, until
from tests.integration.restart_live.reboot import reboot

pytestmark = pytest.mark.integration

_SLEEPS = "sleep 600"
_STACK = """
services:
  web:
    image: busybox
    command: sh -c "wget -qO- http://db:81/ > /index.html && exec httpd -f -p 80 -h /"
    restart: always
    ports: ["127.0.0.1::80"]
    depends_on:
      db: {condition: service_healthy}
  db:
    image: busybox
    command: sh -c "mkdir -p /www; echo from db > /www/index.html; exec httpd -f -p 81 -h /www"
    restart: unless-stopped
    volumes: ["./gate:/gate:ro"]
    healthcheck: {test: "cat /gate/open", interval: 1h}
"""


def run(engine: Engine, name: str, *flags: str, script: str = _SLEEPS) -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script)


def count(engine: Engine, name: str) -> object:
    return engine.get(f"/containers/{name}/json")["RestartCount"]


def test_who_comes_back_after_a_reboot(engine: Engine) -> None:
    for policy in ("always", "unless-stopped", "on-failure", "on-failure:1", "no"):
        name = policy.replace(":", "-")
        run(engine, f"{name}-up", "--restart", policy)
        if policy in {"always", "unless-stopped", "on-failure"}:
            run(engine, f"{name}-down", "--restart", policy)
            engine.docker("stop", "-t0", f"{name}-down")
    run(engine, "done", "--restart", "on-failure", script="exit 0")
    run(engine, "gave-up", "--restart", "on-failure:1", script="exit 4")
    run(engine, "brief", "--rm")
    run(engine, "frozen", "--restart", "always")
    engine.docker("create", "--name", "never-started", "--restart", "always", "busybox", "true")
    engine.docker("pause", "frozen")
    until(lambda: status(engine, "gave-up") == "exited", "it gave up")
    reboot(engine)
    engine.start()
    wanted = {
        "always-up": "running", "always-down": "running", "frozen": "running",
        "unless-stopped-up": "running", "unless-stopped-down": "exited",
        # It is the program's end that counts, and this one was not a clean one.
        "on-failure-up": "running", "on-failure-1-up": "running",
        "on-failure-down": "exited", "done": "exited", "gave-up": "exited", "no-up": "exited",
    }  # fmt: skip
    until(lambda: {key: status(engine, key) for key in wanted} == wanted, "as the policies say")
    assert state(engine, "no-up")["ExitCode"] == 137
    assert (state(engine, "gave-up")["ExitCode"], count(engine, "gave-up")) == (4, 1)
    assert (count(engine, "on-failure-1-up"), count(engine, "always-up")) == (1, 1)
    names = engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert "brief" not in names
    assert_true(engine)
    # The same host goes down once more: what a reboot has brought back is like any other.
    engine.docker("stop", "-t0", "always-up", "unless-stopped-up")
    reboot(engine)
    engine.start()
    wanted |= {"unless-stopped-up": "exited", "on-failure-1-up": "exited"}
    until(lambda: {key: status(engine, key) for key in wanted} == wanted, "as the policies say")


@pytest.fixture
def stack(engine: Engine, tmp_path: Path) -> Project:
    """A project whose database is healthy while there is a file ``gate/open``."""
    folder = tmp_path / "shop"
    (folder / "gate").mkdir(parents=True)
    project = Project(engine, folder)
    project.write(_STACK)
    return project


def gate(stack: Project) -> Path:
    return stack.folder / "gate" / "open"


def started(engine: Engine, name: str) -> str:
    return str(state(engine, name)["StartedAt"])


def port_of(engine: Engine, name: str) -> int:
    return int(engine.docker("port", name, "80").stdout.split("\n")[0].rpartition(":")[2])


def test_a_stack_comes_back_in_order_with_names_and_ports(stack: Project) -> None:
    engine = stack.engine
    gate(stack).touch()
    stack.compose("up", "-d")
    assert page(port_of(engine, "shop-web-1")) == "from db\n"
    gate(stack).unlink()
    reboot(engine)
    engine.start()
    until(lambda: status(engine, "shop-db-1") == "running", "the database is first")
    until(lambda: state(engine, "shop-web-1")["Error"], "the other one waits")
    waiting = state(engine, "shop-web-1")
    assert waiting["Status"] == "restarting"
    assert waiting["Error"] == "waiting for shop-db-1 to be healthy"
    asked = f"{state(engine, 'shop-db-1')['Health']}"
    until(lambda: f"{state(engine, 'shop-db-1')['Health']}" != asked, "it was asked again")
    assert status(engine, "shop-web-1") == "restarting"
    gate(stack).touch()
    until(lambda: status(engine, "shop-web-1") == "running", "its turn has come")
    assert started(engine, "shop-web-1") > started(engine, "shop-db-1")
    # It has asked the database by its name, or it would have ended.
    assert page(port_of(engine, "shop-web-1")) == "from db\n"
    assert_true(engine)
    stack.compose("down", "-t", "0")
    assert engine.docker("ps", "-aq").stdout == ""


def test_an_order_that_cannot_be_kept_is_a_warning(engine: Engine) -> None:
    project = ("--restart", "always", "--label", "com.docker.compose.project=knot")
    for name, needs in (("one", "two"), ("two", "one"), ("lonely", "ghost"), ("late", "off")):
        run(
            engine, name, *project, "--label", f"com.docker.compose.service={name}",
            "--label", f"com.docker.compose.depends_on={needs}:service_healthy:false",
        )  # fmt: skip
    run(engine, "off", *project[2:], "--label", "com.docker.compose.service=off")
    engine.docker("stop", "-t0", "off")
    reboot(engine)
    engine.start()
    for name in ("one", "two", "lonely", "late"):
        until(lambda name=name: status(engine, name) == "running", f"{name} runs")  # type: ignore[misc]
    said = engine.log.read_text()
    assert "containers one, two depend on each other: they do not wait for each other" in said
    assert "container lonely depends on service ghost, which has no container" in said
    assert "container late waited for off to be healthy: is down: it is started anyway" in said
    assert_true(engine)
