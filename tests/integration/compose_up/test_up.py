"""``up`` and ``down`` on a real engine: order, names, recreation, scaling, orphans, resources."""

import pytest

from tests.composeproject import Project
from tests.engine import page
from tests.processes import free_port

pytestmark = pytest.mark.integration

_COUNTER = """
services:
  web:
    build: .
    ports: ["127.0.0.1:%d:80"]
    environment: {STORE: redis}
    depends_on: [redis]
    init: true
  redis:
    image: busybox
    init: true
    command: sh -c "while true; do echo counter | nc -l -p 6379 -w 1; done"
    volumes: ["data:/data"]
volumes: {data: }
"""
_WEB = """FROM busybox
RUN mkdir -p /www/cgi-bin && echo '#!/bin/sh' >/www/cgi-bin/x
CMD ["sh", "-c", "echo page of $STORE >/www/index.html; exec httpd -f -p 80 -h /www"]
"""
_SLEEPER = "image: busybox, init: true, command: sleep 1000"


def test_the_first_stack(project: Project) -> None:
    port = free_port()
    project.write(_COUNTER % port)
    project.write(_WEB, "Dockerfile")
    done = project.compose("up", "-d")
    name = project.name
    lines = [line.strip() for line in done.stderr.splitlines()]
    for line in (
        f"Image {name}-web  Built", f"Network {name}_default  Created",
        f"Volume {name}_data  Created", f"Container {name}-web-1  Started",
    ):  # fmt: skip
        assert line in lines
    started = lines.index(f"Container {name}-redis-1  Started")
    assert started < lines.index(f"Container {name}-web-1  Starting")
    assert page(port) == "page of redis\n"
    project.engine.docker("exec", f"{name}-web-1", "ping", "-c", "1", "redis")
    again = project.compose("up", "-d").stderr
    assert again.count("Running") == 2
    assert "Creat" not in again
    project.engine.docker("exec", f"{name}-redis-1", "sh", "-c", "echo kept >/data/x")
    down = project.compose("down", "-t", "1").stderr
    assert f"Network {name}_default  Removed" in down
    assert not project.observed().containers
    assert [one.name for one in project.observed().volumes] == [f"{name}_data"]
    project.compose("up", "-d", "redis")
    kept = project.engine.docker("exec", f"{name}-redis-1", "cat", "/data/x").stdout
    assert kept == "kept\n"
    # Without any file, the labels tell.
    project.engine.kedge("compose", "-p", name, "down", "-v", "--rmi", "local", "-t", "0")
    assert project.observed() == ((), (), ())


def test_changes_recreate_and_the_reason_is_said(project: Project) -> None:
    text = f"""
services:
  a: {{{_SLEEPER}, environment: {{V: "%s"}}, volumes: [/anonymous]}}
  b: {{{_SLEEPER}, depends_on: {{a: {{condition: service_started, restart: true}}}}}}
  c: {{{_SLEEPER}, network_mode: "service:a"}}
"""
    project.write(text % 1)
    project.compose("up", "-d")
    before = {one.service: one for one in project.observed().containers}
    project.engine.docker("exec", before["a"].name, "touch", "/anonymous/mine")
    project.write(text % 2)
    planned = project.compose("--dry-run", "up", "-d").stderr
    assert "a-1  Recreated env V changed" in planned
    assert project.observed().containers[0].id in {one.id for one in before.values()}
    done = project.compose("up", "-d").stderr
    assert "a-1  Recreated env V changed" in done
    assert "b-1  Restarted" in done
    assert "c-1  Recreated service a is recreated" in done
    after = {one.service: one for one in project.observed().containers}
    assert after["b"].id == before["b"].id
    assert after["a"].id != before["a"].id
    assert {one.state for one in after.values()} == {"running"}
    project.engine.docker("exec", after["a"].name, "ls", "/anonymous/mine")
    renewed = project.compose("up", "-d", "--force-recreate", "-V", "a").stderr
    assert "a-1  Recreated forced" in renewed
    found = project.engine.docker("exec", after["a"].name, "ls", "/anonymous").stdout
    assert found == ""


def test_scaling_orphans_and_changed_networks(project: Project) -> None:
    project.write(f"services: {{a: {{{_SLEEPER}}}, gone: {{{_SLEEPER}}}}}")
    project.compose("up", "-d", "--scale", "a=3")
    project.engine.docker("rm", "-f", f"{project.name}-a-2")
    project.write(f"services: {{a: {{{_SLEEPER}}}}}\nnetworks: {{default: {{labels: {{x: y}}}}}}")
    done = project.compose("scale", "a=3").stderr
    assert f"Found orphan containers ([{project.name}-gone-1])" in done
    assert f"Network {project.name}_default  Created" in done
    assert sorted(project.states()) == ["a-1", "a-2", "a-3", "gone-1"]
    project.engine.docker("exec", f"{project.name}-a-1", "ping", "-c", "1", "gone")
    project.compose("up", "-d", "--remove-orphans", "-t", "0")
    assert project.states() == {"a-1": "running"}


def test_start_stop_restart_and_create(project: Project) -> None:
    project.write(f"services: {{a: {{{_SLEEPER}, depends_on: [b]}}, b: {{{_SLEEPER}}}}}")
    project.compose("create")
    assert project.states() == {"a-1": "created", "b-1": "created"}
    project.compose("start")
    project.compose("restart", "-t", "0", "b")
    assert project.states() == {"a-1": "running", "b-1": "running"}
    stopped = project.compose("stop", "-t", "0").stderr.splitlines()
    order = [line.split()[1] for line in stopped if line.endswith("Stopped")]
    assert order == [f"{project.name}-a-1", f"{project.name}-b-1"]
    assert project.states() == {"a-1": "exited", "b-1": "exited"}
    missing = project.compose("start", "nope", check=False)
    assert missing.returncode == 1
    assert missing.stderr == "kedge: no such service: nope\n"


def test_files_and_hooks_reach_containers(project: Project) -> None:
    project.write("""
services:
  s:
    image: busybox
    init: true
    command: sleep 1000
    volumes: ["data:/data"]
    secrets: [{source: token, target: t, uid: "100", mode: 0400}, file]
    configs: [{source: text, target: /etc/text}]
    pre_start: [{command: sh -c "echo before >>/data/log"}]
    post_start: [{command: sh -c "echo after >>/data/log"}]
    pre_stop: [{command: sh -c "echo end >>/data/log"}]
secrets: {token: {environment: TOKEN}, file: {file: ./secret.txt}}
configs: {text: {content: "hello ${TOKEN}"}}
volumes: {data: }
""")
    project.write("TOKEN=abc\n", ".env")
    project.write("from a file", "secret.txt")
    project.compose("up", "-d")
    name = f"{project.name}-s-1"
    script = "cat /run/secrets/t /run/secrets/file /etc/text; stat -c %u:%a /run/secrets/t"
    found = project.engine.docker("exec", name, "sh", "-c", script).stdout
    assert found == "abcfrom a filehello abc100:400\n"
    project.compose("stop", "-t", "0")
    project.compose("start")
    log = project.engine.docker("exec", name, "cat", "/data/log").stdout
    assert log.split() == ["before", "after", "end", "after"]
    project.compose("up", "-d", "--force-recreate", "-t", "0")
    log = project.engine.docker("exec", name, "cat", "/data/log").stdout
    assert log.split()[4:] == ["end", "before", "after"]
