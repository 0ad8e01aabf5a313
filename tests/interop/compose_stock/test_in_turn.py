"""One project driven by ``kedge compose`` and Docker Compose in turn: each sees the other's."""

import json

import pytest

from tests.engine import Engine
from tests.interop.compose_stock.conftest import Compose

pytestmark = pytest.mark.interop

HELD = """
name: stock
services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    networks: [back]
    depends_on: [db]
  db:
    image: busybox
    init: true
    command: sleep 1000
    volumes: ["data:/data", /anonymous]
    networks: [back]
networks: {back: {}}
volumes: {data: {}}
"""


def kedge(engine: Engine, compose: Compose, *words: str) -> str:
    path = str(compose.folder / "docker-compose.yml")
    done = engine.kedge("-H", engine.host, "compose", "-f", path, *words)
    return done.stdout + done.stderr


def ids(compose: Compose) -> dict[str, str]:
    lines = compose("ps", "-a", "--no-trunc", "--format", "json").stdout.splitlines()
    return {str(row["Name"]): str(row["ID"]) for row in map(json.loads, lines)}


def test_each_goes_on_where_the_other_ended(current: Compose, shared_engine: Engine) -> None:
    (current.folder / "docker-compose.yml").write_text(HELD)
    kedge(shared_engine, current, "up", "-d")
    assert sorted(ids(current)) == ["stock-db-1", "stock-web-1"]
    assert [line["Name"] for line in json.loads(current("ls", "--format", "json").stdout)] == [
        "stock"
    ]
    current("exec", "-T", "db", "touch", "/data/kept", "/anonymous/kept")
    for words in (("pause", "db"), ("unpause", "db"), ("stop", "-t", "1"), ("start",)):
        current(*words)
    before = ids(current)
    assert "Recreate" not in current("up", "-d", "--no-recreate").stderr
    assert ids(current) == before
    # The hashes are different, so each makes the other's containers anew, once, and no more.
    told = current("up", "-d").stderr
    assert "Container stock-db-1 Recreated" in told
    assert "Volume" not in told
    stock = ids(current)
    current("exec", "-T", "db", "test", "-e", "/data/kept", "-a", "-e", "/anonymous/kept")
    told = kedge(shared_engine, current, "up", "-d")
    assert "stock-db-1  Recreated" in told
    own = ids(current)
    assert set(own) == set(stock)
    assert own["stock-db-1"] != stock["stock-db-1"]
    current("exec", "-T", "db", "test", "-e", "/data/kept", "-a", "-e", "/anonymous/kept")
    kedge(shared_engine, current, "up", "-d")
    assert ids(current) == own
    current("up", "-d", "--no-recreate", "--scale", "web=2")
    assert "stock-web-2" in kedge(shared_engine, current, "ps", "--format", "{{.Name}}")
    kedge(shared_engine, current, "scale", "web=3")
    assert {"stock-web-2", "stock-web-3"} <= set(ids(current))
    kedge(shared_engine, current, "down", "-v", "-t", "1")
    assert ids(current) == {}
    assert current("volumes", "-q").stdout == ""


def test_what_one_made_the_other_takes_down(current: Compose, shared_engine: Engine) -> None:
    (current.folder / "docker-compose.yml").write_text(HELD)
    current("up", "-d")
    assert "stock-db-1" in kedge(shared_engine, current, "ps")
    assert "running(2)" in kedge(shared_engine, current, "ls")
    kedge(shared_engine, current, "stop", "-t", "1", "web")
    kedge(shared_engine, current, "down", "-v", "-t", "1")
    assert ids(current) == {}
    kedge(shared_engine, current, "up", "-d")
    current("down", "-v", "-t", "1")
    assert kedge(shared_engine, current, "ps", "-aq") == ""
    assert kedge(shared_engine, current, "volumes", "-q") == ""
