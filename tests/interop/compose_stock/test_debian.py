"""Debian's docker-compose 1.29 drives a project on this engine."""

import pytest

from tests.interop.compose_stock.conftest import Compose

pytestmark = pytest.mark.interop


def test_a_project_from_up_to_down(debian: Compose) -> None:
    built = debian("up", "-d", "--build")
    assert "Successfully tagged stock_web:latest" in built.stdout + built.stderr
    assert "Up (healthy)" in debian("ps").stdout
    assert debian("exec", "-T", "web", "wget", "-qO-", "http://site/greeting").stdout == "hello\n"
    debian("exec", "-T", "web", "sh", "-c", "exit 5", code=5)
    assert "| started" in debian("logs", "--no-color", "db").stdout
    assert debian("port", "web", "80").stdout.startswith("127.0.0.1:")
    assert "httpd" in debian("top", "web").stdout
    assert "stock_web" in debian("images").stdout
    assert "stock_web_1 is up-to-date" in debian("up", "-d").stderr
    debian("up", "-d", "--scale", "web=2")
    assert len(debian("ps", "-q", "web").stdout.split()) == 2
    for words in (
        ("pause", "db"), ("unpause", "db"), ("restart", "-t", "1", "db"), ("kill", "web"),
        ("stop", "-t", "1"), ("rm", "-f"),
    ):  # fmt: skip
        debian(*words)
    assert debian("ps", "-q").stdout == ""


def test_a_container_is_recreated_with_its_volumes(debian: Compose) -> None:
    # Newer engines made it end with KeyError: 'ContainerConfig'.
    debian("up", "-d", "db")
    debian("exec", "-T", "db", "touch", "/data/kept")
    before = debian("ps", "-q", "db").stdout
    debian("up", "-d", "--force-recreate", "db")
    assert debian("ps", "-q", "db").stdout != before
    debian("exec", "-T", "db", "test", "-e", "/data/kept")
