"""The current Docker Compose drives a project on this engine."""

import json
import signal
from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.interop.compose_stock.conftest import Compose

pytestmark = pytest.mark.interop


def rows(compose: Compose) -> dict[str, JsonObject]:
    lines = compose("ps", "-a", "--format", "json").stdout.splitlines()
    return {str(row["Name"]): row for row in map(json.loads, lines)}


def test_a_project_from_up_to_down(current: Compose) -> None:
    built = current("up", "-d", "--build")
    assert "Successfully tagged stock-web:latest" in built.stdout + built.stderr
    found = rows(current)
    assert {name: row["State"] for name, row in found.items()} == {
        "stock-db-1": "running",
        "stock-web-1": "running",
    }
    assert found["stock-db-1"]["Health"] == "healthy"
    assert current("exec", "-T", "web", "wget", "-qO-", "http://site/greeting").stdout == "hello\n"
    assert current("exec", "-T", "web", "ping", "-c1", "-W5", "db").stdout
    current("exec", "-T", "web", "sh", "-c", "exit 5", code=5)
    assert current("exec", "-T", "web", "cat", text="typed").stdout == "typed"
    assert "db-1  | started" in current("logs").stdout
    assert current("port", "web", "80").stdout.startswith("127.0.0.1:")
    assert "httpd" in current("top", "web").stdout
    assert "stock-web" in current("images").stdout
    assert "stock_data" in current("volumes").stdout
    assert "stock-web-1" in current("stats", "--no-stream").stdout
    again = current("up", "-d").stderr
    assert "Recreate" not in again
    assert "Container stock-web-1 Running" in again
    current("up", "-d", "--scale", "web=3")
    assert sorted(rows(current)) == ["stock-db-1", *(f"stock-web-{n}" for n in (1, 2, 3))]
    current("scale", "web=1")
    assert sorted(rows(current)) == ["stock-db-1", "stock-web-1"]
    ran = current("run", "--rm", "-T", "db", "sh", "-c", "cat /etc/hostname; exit 4", code=4)
    assert len(ran.stdout.strip()) == 12
    down = current("down", "-v", "--rmi", "local", "-t", "1").stderr
    assert "Volume stock_data Removed" in down
    assert "Network stock_back Removed" in down
    assert rows(current) == {}


def test_each_verb_finds_what_it_needs(current: Compose, tmp_path: Path) -> None:
    current("up", "-d")
    current("pause", "db")
    assert rows(current)["stock-db-1"]["State"] == "paused"
    current("unpause", "db")
    current("restart", "-t", "1", "web")
    current("cp", "site/index.html", "web:/copied")
    current("cp", "web:/copied", "back")
    assert (tmp_path / "back").read_text() == "hi\n"
    current("export", "-o", "web.tar", "web")
    assert (tmp_path / "web.tar").stat().st_size > 0
    current("kill", "-s", "KILL", "web")
    assert rows(current)["stock-web-1"]["ExitCode"] == 137
    current("start", "web")
    current("stop", "-t", "1", "web")
    current("rm", "-f", "web")
    assert list(rows(current)) == ["stock-db-1"]
    lines = current("events", "--json", "--since", "5m", "--until", "0s", "web", code=1).stdout
    # It takes the end of the stream for a failure: EOF.
    actions = [str(json.loads(line)["action"]) for line in lines.splitlines()]
    assert actions[0] == "create"
    assert "die" in actions


def test_the_foreground_ends_with_the_first_exit(current: Compose, folder: Path) -> None:
    (folder / "docker-compose.yml").write_text(
        "services:\n"
        "  a: {image: busybox, command: \"sh -c 'echo one; exit 3'\", depends_on: [b]}\n"
        "  b: {image: busybox, init: true, command: \"sh -c 'echo two; exec sleep 1000'\"}\n"
    )
    done = current("up", "--abort-on-container-exit", "-t", "1", code=3)
    assert "a-1  | one" in done.stdout
    assert "b-1  | two" in done.stdout
    assert "a-1 exited with code 3" in done.stdout
    done = current("up", "--exit-code-from", "b", "-t", "1", code=143)
    waiting = current.spawn("up", "b")
    for line in waiting.stdout or ():
        if "two" in line:
            break
    waiting.send_signal(signal.SIGINT)
    _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 130, stderr
    assert "Gracefully" in stderr


def test_watch_takes_files_over(current: Compose, folder: Path) -> None:
    (folder / "docker-compose.yml").write_text(
        "services:\n"
        "  web:\n"
        "    image: busybox\n"
        "    init: true\n"
        "    command: sh -c 'until [ -e /site/new ]; do sleep 0.05; done; echo seen; sleep 1000'\n"
        "    build: .\n"
        "    develop: {watch: [{path: ./site, action: sync, target: /site}]}\n"
    )
    current("up", "-d")
    watching = current.spawn("watch", "--no-up")
    for line in watching.stdout or ():
        if "Watch enabled" in line:
            break
    (folder / "site" / "new").write_text("x")
    following = current.spawn("logs", "-f", "web")
    assert any("seen" in line for line in following.stdout or ())
    for process in (watching, following):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
