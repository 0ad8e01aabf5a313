"""Verbs that look at a project and touch its containers, as a person types them."""

import io
import json
import signal
import tarfile
import time
from pathlib import Path

import pytest

from kedge.lib.jsontypes import JsonObject
from tests.integration.compose_verbs.conftest import Project

pytestmark = pytest.mark.integration


def rows(project: Project, *words: str) -> dict[str, JsonObject]:
    lines = project.run("ps", "-a", "--format", "json", *words).stdout.splitlines()
    return {str(row["Name"]): row for row in map(json.loads, lines)}


def test_lists_show_what_runs(standing: Project) -> None:
    assert standing.run("ps", "--services").stdout.split() == ["web", "worker"]
    assert standing.run("ps", "-q", "worker").stdout.count("\n") == 2
    table = standing.run("ps").stdout
    assert table.startswith("NAME")
    assert "shop-job-1" not in table
    found = rows(standing)
    assert list(found) == ["shop-job-1", "shop-web-1", "shop-worker-1", "shop-worker-2"]
    assert found["shop-job-1"]["State"] == "exited"
    assert found["shop-job-1"]["ExitCode"] == 3
    publishers = found["shop-web-1"]["Publishers"]
    assert isinstance(publishers, list)
    [published] = publishers
    assert isinstance(published, dict)
    assert (published["URL"], published["TargetPort"]) == ("127.0.0.1", 80)
    assert list(rows(standing, "--status", "exited")) == ["shop-job-1"]
    assert list(rows(standing, "--filter", "status=exited")) == ["shop-job-1"]
    [line] = json.loads(standing.run("ls", "--format", "json", "--filter", "name=sho").stdout)
    assert line["Name"] == "shop"
    assert line["Status"] == "running(3)"
    assert line["ConfigFiles"] == str(standing.folder / "compose.yaml")
    assert "shop" not in standing.run("ls", "-q", "--filter", "name=other").stdout
    images = json.loads(standing.run("images", "--format", "json", "web").stdout)
    assert [(one["ContainerName"], one["Repository"]) for one in images] == [
        ("shop-web-1", "busybox")
    ]
    assert standing.run("volumes", "-q").stdout.split() == ["shop_data"]
    assert standing.run("volumes", "-q", "worker").stdout == ""


def test_a_project_is_found_by_its_name_alone(standing: Project) -> None:
    (standing.folder / "compose.yaml").unlink()
    assert standing.run("-p", "shop", "ps", "--services").stdout.split() == ["web", "worker"]
    assert standing.run("-p", "shop", "exec", "web", "cat", "/etc/group").stdout.startswith("root")
    # The fixture takes the project down from its file.
    standing.write("name: shop\nservices: {web: {image: busybox}}\n")


def test_processes_ports_and_use(standing: Project) -> None:
    top = standing.run("top", "web").stdout.splitlines()
    assert top[0].split()[:2] == ["SERVICE", "#"]
    assert top[1].split()[:2] == ["web", "1"]
    assert "httpd" in top[1]
    assert standing.run("port", "web", "80").stdout.startswith("127.0.0.1:")
    failed = standing.run("port", "web", "81", code=1).stderr
    assert failed == "kedge: no port 81/tcp for container shop-web-1: published: 80/tcp\n"
    stats = standing.run("stats", "--no-stream", "--format", "{{.Name}}", "web").stdout
    assert stats == "shop-web-1\n"


def test_exec_chooses_a_container_and_ends_as_the_program(standing: Project) -> None:
    assert standing.run("exec", "-T", "-e", "A=b", "web", "sh", "-c", "echo $A").stdout == "b\n"
    names = [
        standing.run("exec", f"--index={number}", "worker", "hostname").stdout for number in (1, 2)
    ]
    assert names[0] != names[1]
    assert standing.run("exec", "-u", "web", "-w", "/etc", "web", "pwd").stdout == "/etc\n"
    assert standing.run("exec", "web", "cat", text="typed").stdout == "typed"
    standing.run("exec", "web", "sh", "-c", "exit 7", code=7)
    failed = standing.run("exec", "job", "true", code=1).stderr
    assert failed.startswith('kedge: service "job" is not running: it is exited (3)')
    failed = standing.run("exec", "--index", "3", "worker", "true", code=1).stderr
    assert failed == 'kedge: container #3 of service "worker" is not running\n'
    assert standing.run("exec", "wbe", "true", code=1).stderr == (
        "kedge: no such service: wbe (did you mean web?)\n"
    )


def test_attach_speaks_with_a_service_and_ends_as_it_does(project: Project) -> None:
    project.write("""
name: mine
services:
  shell:
    image: busybox
    stdin_open: true
    command: sh -c 'read line; echo "got $$line"; exit 4'
""")
    project.run("up", "-d", "--remove-orphans", "-t", "0")
    done = project.run("attach", "shell", text="hello\n", code=4)
    assert done.stdout == "got hello\n"
    assert "no such service: nosuch" in project.run("attach", "nosuch", code=1).stderr
    assert "is not running" in project.run("attach", "shell", code=1).stderr


def test_pause_unpause_kill_and_rm(project: Project) -> None:
    told = project.run("pause", "web").stderr
    assert " Container mine-web-1  Paused\n" in told
    assert rows(project)["mine-web-1"]["State"] == "paused"
    project.run("unpause")
    assert rows(project)["mine-web-1"]["State"] == "running"
    told = project.run("kill", "-s", "TERM", "worker").stderr
    assert " Container mine-worker-2  Killed\n" in told
    ended = project.engine.kedge("wait", "mine-worker-1", "mine-worker-2").stdout
    assert ended.split() == ["5", "5"]
    assert project.run("kill", "worker").stderr.startswith("no container to kill")
    assert "Going to remove mine-job-1" in project.run("rm", "job", text="n\n").stdout
    assert "mine-job-1" in rows(project)
    project.run("rm", "-f", "job")
    assert "mine-job-1" not in rows(project)
    project.run("rm", "-fsv", "worker")
    assert list(rows(project)) == ["mine-web-1"]
    assert project.run("rm", "-f").stderr == "No stopped containers\n"


def test_files_go_in_and_out(standing: Project) -> None:
    (standing.folder / "note").write_text("for all")
    standing.run("cp", "note", "worker:/note")
    for number in ("1", "2"):
        told = standing.run("exec", "--index", number, "worker", "cat", "/note").stdout
        assert told == "for all"
    standing.run("cp", "worker:/note", "back")
    assert (standing.folder / "back").read_text() == "for all"
    standing.run("export", "-o", "web.tar", "web")
    with tarfile.open(fileobj=io.BytesIO((standing.folder / "web.tar").read_bytes())) as archive:
        assert "etc/passwd" in archive.getnames()
    made = standing.run("commit", "-m", "kept", "web", "kept:1").stdout
    assert made.startswith("sha256:")
    standing.engine.kedge("rmi", "kept:1")


def test_events_of_the_project_end_with_until(standing: Project) -> None:
    lines = standing.run("events", "--json", "--since", "2h", "--until", "0s", "job").stdout
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["action"] for event in events][:3] == ["create", "start", "die"]
    assert {event["service"] for event in events} == {"job"}
    assert events[2]["attributes"]["exitCode"] == "3"
    plain = standing.run("events", "--since", "2h", "--until", "0s", "job").stdout
    assert " container die " in plain
    assert "com.docker.compose" not in plain


def test_wait_ends_as_the_last_container(project: Project) -> None:
    waiting = project.spawn("wait", "worker")
    until_connected(waiting.pid, 3)
    project.run("kill", "-s", "TERM", "worker")
    stdout, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 5, stderr
    assert stdout.count("exited with status code 5\n") == 2
    failed = project.run("wait", "worker", code=1).stderr
    assert failed == 'kedge: no containers for project "mine" to wait for\n'
    waiting = project.spawn("wait", "--down-project", "web")
    until_connected(waiting.pid, 2)
    project.engine.kedge("kill", "mine-web-1")
    _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 137, stderr
    assert rows(project) == {}


def until_connected(pid: int, count: int) -> None:
    """Return when a process has that many connections to the engine."""
    deadline = time.monotonic() + 60
    folder = Path(f"/proc/{pid}/fd")
    while sum(_is_socket(entry) for entry in folder.iterdir()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


def test_words_that_mean_nothing_are_refused(standing: Project) -> None:
    for words, said in (
        (("ps", "nosuch"), "no such service: nosuch"),
        (("ps", "--status", "odd"), "unknown status odd"),
        (("ps", "--filter", "name=x"), "unknown filter name"),
        (("ls", "--format", "odd"), "unsupported format 'odd'"),
        (("images", "--format", "odd"), "unsupported format 'odd'"),
        (("port", "web", "eighty"), "invalid port: eighty"),
        (("port", "--protocol", "odd", "web", "80"), "unknown protocol odd"),
        (("cp", "web:/a", "job:/b"), "copying between containers is not supported"),
        (("export", "--index", "0", "web"), "--index 0"),
        (("ps", "--bogus"), "unknown flag: --bogus"),
        (("up", "--pull", "odd"), 'invalid --pull option "odd"'),
        (("stop", "-t", "soon"), 'invalid argument "soon"'),
        (("exec",), "at least"),
        (("run", "nosuch"), "no such service: nosuch"),
    ):
        assert said in standing.run(*words, code=1).stderr, words


def test_logs_come_in_the_order_they_were_written(standing: Project) -> None:
    lines = standing.run("logs", "-t", "web", "worker")
    assert "worker-1  | " in lines.stdout
    stamps = [line.split("| ")[1].split()[0] for line in lines.stdout.splitlines()]
    assert stamps == sorted(stamps)
    assert lines.stderr.startswith("web-1     | ")
    assert lines.stderr.endswith("Z oops\n")
    assert standing.run("logs", "--no-log-prefix", "web").stdout == "hello\n"
    assert standing.run("logs", "--index", "2", "worker").stdout == "worker-2  | up\n"
    coloured = standing.run("--ansi", "always", "logs", "job").stdout
    assert coloured == "\x1b[36mjob-1  | \x1b[0mdone\n"
    assert standing.run("logs", "--tail", "0").stdout == ""
    for words, said in (
        (("--tail", "many"), 'invalid value for "tail": many'),
        (("--index", "1"), "--index needs exactly one service"),
        (("--index", "7", "web"), 'service "web" has no container #7'),
    ):
        assert said in standing.run("logs", *words, code=1).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_verb_as_docker_compose_ends(
    standing: Project, number: signal.Signals
) -> None:
    following = standing.spawn("logs", "-f", "worker")
    assert following.stdout is not None
    following.stdout.readline()
    following.send_signal(number)
    assert following.wait(timeout=60) == 130
    assert "Traceback" not in following.communicate()[1]


def test_following_goes_on_with_new_containers_until_none_runs(project: Project) -> None:
    following = project.spawn("logs", "-f", "worker")
    lines = following.stdout
    assert lines is not None
    assert {lines.readline(), lines.readline()} == {"worker-1  | up\n", "worker-2  | up\n"}
    project.run("up", "-d", "--scale", "worker=3")
    assert lines.readline() == "worker-3  | up\n"
    project.engine.kedge("restart", "-t", "0", "mine-worker-1")
    assert lines.readline() == "worker-1  | up\n"
    project.run("kill", "worker")
    rest, stderr = following.communicate(timeout=60)
    assert (following.returncode, rest, stderr) == (0, "", "")
