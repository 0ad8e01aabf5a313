"""What clients match on byte by byte, asked of a real engine without any client library."""

import contextlib
import http.client
import json
import socket
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.engine import Engine, make_tar

pytestmark = pytest.mark.interop
JSON = "application/json"
WRONG_FILTER = quote('{"nosuch":["x"]}')
NO_SWARM = "This node is not a swarm manager. "


class Answer(NamedTuple):
    """One response."""

    status: int
    kind: str
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["message"])


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("kedge", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def ask(
    engine: Engine, method: str, path: str, body: bytes | None = None, kind: str | None = JSON
) -> Answer:
    """Send one request; a body of type ``kind``."""
    headers = {"Content-Type": kind} if body is not None and kind is not None else {}
    with contextlib.closing(_Connection(str(engine.socket))) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(
            answer.status, answer.headers.get("Content-Type", ""), answer.read(), answer.headers
        )


def test_request_json_is_strict(shared_engine: Engine) -> None:
    for path in (
        "/containers/create",
        "/commit?container=x",
        "/volumes/create",
        "/networks/create",
    ):
        for body, kind, text in (
            (b"{", JSON, "invalid JSON: "),
            (b"{}{}", JSON, "unexpected content after JSON"),
            (b"{}", "text/plain", "must be 'application/json'"),
            (b"{}", None, "malformed Content-Type header"),
        ):
            answer = ask(shared_engine, "POST", path, body, kind)
            assert (answer.status, answer.kind) == (400, JSON), (path, body, kind, answer)
            assert text in answer.message, (path, body, kind, answer)


def test_unknown_paths_and_wrong_methods_are_not_found(shared_engine: Engine) -> None:
    for method, path in (
        ("GET", "/nothing"), ("POST", "/info"), ("PUT", "/containers/json"), ("DELETE", "/images"),
        ("GET", "/v1.44/nothing"), ("PATCH", "/version"), ("GET", "/containers/x/start"),
    ):  # fmt: skip
        answer = ask(shared_engine, method, path)
        assert (answer.status, answer.kind) == (404, JSON), (method, path, answer)
        assert answer.message == "page not found", (method, path)


def test_versions_are_negotiated(shared_engine: Engine) -> None:
    for version in ("1.24", "1.40", "1.51"):
        answer = ask(shared_engine, "GET", f"/v{version}/version")
        assert answer.status == 200, version
    old = ask(shared_engine, "GET", "/v1.10/version")
    new = ask(shared_engine, "GET", "/v1.99/version")
    assert (old.status, new.status) == (400, 400)
    assert old.message == (
        "client version 1.10 is too old. Minimum supported API version is 1.24, "
        "please upgrade your client to a newer version"
    )
    assert new.message == ("client version 1.99 is too new. Maximum supported API version is 1.51")


def test_every_answer_says_who_gives_it(shared_engine: Engine) -> None:
    for method, path in (
        ("GET", "/_ping"), ("HEAD", "/_ping"), ("GET", "/nothing"), ("GET", "/containers/no/json"),
        ("GET", "/v1.1/info"), ("GET", "/images/json"), ("GET", "/swarm"),
    ):  # fmt: skip
        headers = ask(shared_engine, method, path).headers
        assert headers["Api-Version"] == "1.51", path
        assert headers["Ostype"] == "linux", path
        assert headers["Server"].endswith("(linux)"), path
        assert headers["Docker-Experimental"] in {"true", "false"}, path
    ping = ask(shared_engine, "HEAD", "/_ping")
    assert (ping.status, ping.body, ping.kind) == (200, b"", "text/plain; charset=utf-8")
    assert ping.headers["Content-Length"] == "0"
    assert ping.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert (ping.headers["Pragma"], ping.headers["Swarm"]) == ("no-cache", "inactive")


def test_filters_come_in_two_shapes(shared_engine: Engine) -> None:
    for path in ("/containers/json", "/images/json", "/networks", "/networks/", "/volumes"):
        for filters in ('{"label":{"a=b":true}}', '{"label":["a=b"]}'):
            assert ask(shared_engine, "GET", f"{path}?filters={quote(filters)}").status == 200, path
        bad = ask(shared_engine, "GET", f"{path}?filters={WRONG_FILTER}")
        assert (bad.status, bad.message) == (400, "invalid filter 'nosuch'"), path
    assert ask(shared_engine, "GET", "/volumes").status == 200
    assert ask(shared_engine, "GET", "/networks/").status == 200


def test_prunes_give_lists_and_numbers(shared_engine: Engine) -> None:
    for method, path, key in (
        ("POST", "/containers/prune", "ContainersDeleted"),
        ("POST", "/volumes/prune", "VolumesDeleted"),
        ("POST", "/images/prune", "ImagesDeleted"),
        ("POST", "/networks/prune", "NetworksDeleted"),
    ):
        answer = ask(shared_engine, method, path)
        assert answer.status == 200, path
        assert key in json.loads(answer.body), path
        bad = ask(shared_engine, method, f"{path}?filters={WRONG_FILTER}")
        assert (bad.status, bad.message) == (400, "invalid filter 'nosuch'"), path


def test_objects_that_are_not_there(shared_engine: Engine) -> None:
    for method, path, text in (
        ("GET", "/containers/no/json", "No such container: no"),
        ("GET", "/images/a/b/c:d/json", "No such image: a/b/c:d"),
        ("GET", "/images/localhost:5000/a/b/json", "No such image: localhost:5000/a/b:latest"),
        ("GET", "/networks/no", "network no not found"),
        ("GET", "/volumes/no", "get no: no such volume"),
        ("GET", "/images/no/get", "No such image: no:latest"),
        ("GET", "/containers/no/archive?path=/", "No such container: no"),
        ("POST", "/containers/no/resize?h=1&w=1", "No such container: no"),
        ("POST", "/exec/no/resize?h=1&w=1", "No such exec instance: no"),
        ("DELETE", "/containers/no?force=1", "No such container: no"),
    ):
        answer = ask(shared_engine, method, path)
        assert (answer.status, answer.kind) == (404, JSON), (path, answer)
        assert text in answer.message, (path, answer)
    assert ask(shared_engine, "HEAD", "/containers/no/archive?path=/").body == b""


def test_a_plain_engine_without_swarm_and_plugins(shared_engine: Engine) -> None:
    for method, path in (
        ("GET", "/swarm"), ("POST", "/swarm/update"), ("GET", "/swarm/unlockkey"),
        ("POST", "/swarm/unlock"), ("GET", "/nodes"), ("GET", "/nodes/x"), ("DELETE", "/nodes/x"),
        ("POST", "/nodes/x/update"), ("GET", "/services"), ("POST", "/services/create"),
        ("GET", "/services/x"), ("DELETE", "/services/x"), ("POST", "/services/x/update"),
        ("GET", "/services/x/logs"), ("GET", "/tasks"), ("GET", "/tasks/x"),
        ("GET", "/tasks/x/logs"), ("GET", "/secrets"), ("POST", "/secrets/create"),
        ("GET", "/secrets/x"), ("DELETE", "/secrets/x"), ("POST", "/secrets/x/update"),
        ("GET", "/configs"), ("POST", "/configs/create"), ("GET", "/configs/x"),
        ("DELETE", "/configs/x"), ("POST", "/configs/x/update"), ("PUT", "/volumes/x?version=1"),
    ):  # fmt: skip
        answer = ask(shared_engine, method, path)
        assert (answer.status, answer.kind) == (503, JSON), (path, answer)
        assert answer.message.startswith(NO_SWARM), path
    leave = ask(shared_engine, "POST", "/swarm/leave?force=1")
    assert (leave.status, leave.message) == (503, "This node is not part of a swarm")
    for method, path in (
        ("POST", "/swarm/init"), ("POST", "/swarm/join"), ("GET", "/plugins/privileges?remote=x"),
        ("POST", "/plugins/pull?remote=x"), ("POST", "/plugins/create?name=x"),
    ):  # fmt: skip
        answer = ask(shared_engine, method, path)
        assert (answer.status, answer.kind) == (501, JSON), (path, answer)
        assert "not supported: kedge" in answer.message, path
    for method, path in (
        ("GET", "/plugins/x/json"), ("DELETE", "/plugins/x"), ("POST", "/plugins/x/enable"),
        ("POST", "/plugins/x/disable"), ("POST", "/plugins/x/upgrade"),
        ("POST", "/plugins/x/push"), ("POST", "/plugins/x/set"),
    ):  # fmt: skip
        answer = ask(shared_engine, method, path)
        assert (answer.status, answer.message) == (404, 'plugin "x" not found'), path
    assert json.loads(ask(shared_engine, "GET", "/plugins").body) == []


def test_a_build_is_cancelled_by_its_id(shared_engine: Engine) -> None:
    context = make_tar({"Dockerfile": b"FROM busybox\nRUN echo begun && sleep 600\n"})
    with contextlib.closing(_Connection(str(shared_engine.socket))) as connection:
        connection.request(
            "POST", "/build?buildid=mine", context, {"Content-Type": "application/x-tar"}
        )
        answer = connection.getresponse()
        while b'"begun' not in (line := answer.readline()):
            assert line
        assert ask(shared_engine, "POST", "/build/cancel?id=mine").status == 200
        assert b"build cancelled" in answer.read()
    assert ask(shared_engine, "POST", "/build/cancel?id=mine").status == 200
    assert ask(shared_engine, "POST", "/build/cancel").status == 400


def test_docker_meets_a_plain_engine(shared_engine: Engine) -> None:
    for words in (["stack", "ls"], ["service", "ls"], ["node", "ls"]):
        done = shared_engine.docker(*words, check=False)
        assert done.returncode == 1, words
        assert NO_SWARM in done.stderr, words
    assert "Swarm: inactive" in shared_engine.docker("info").stdout
    missing = shared_engine.docker("inspect", "nosuch", check=False)
    assert (missing.returncode, missing.stdout) == (1, "[]\n")
    assert "No such object: nosuch" in missing.stderr
    assert "Total reclaimed space" in shared_engine.docker("system", "prune", "-f").stdout


def test_a_container_s_calls_and_the_shapes_of_its_fields(shared_engine: Engine) -> None:
    refused = ask(
        shared_engine, "POST", "/containers/create",
        b'{"Image":"busybox","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}',
    )  # fmt: skip
    assert refused.status == 400
    made = ask(
        shared_engine, "POST", "/containers/create?name=box",
        b'{"Image":"busybox","Tty":true,"OpenStdin":true}',
    )  # fmt: skip
    assert made.status == 201
    assert json.loads(made.body)["Warnings"] == []
    try:
        assert ask(shared_engine, "POST", "/containers/box/wait?condition=x").message == (
            'invalid condition: "x"'
        )
        assert ask(shared_engine, "POST", "/containers/box/start", b'{"Binds":[]}').status == 400
        assert ask(shared_engine, "POST", "/containers/box/start").status == 204
        assert ask(shared_engine, "POST", "/containers/box/start").status == 304
        assert ask(shared_engine, "POST", "/containers/box/resize?h=10&w=20").status == 200
        made = ask(shared_engine, "POST", "/containers/box/exec", b'{"Cmd":["sh"],"Tty":true}')
        session = json.loads(made.body)["Id"]
        assert (
            ask(shared_engine, "POST", f"/exec/{session}/start", b'{"Detach":true}').status == 200
        )
        assert ask(shared_engine, "POST", f"/exec/{session}/resize?h=1&w=x").status == 400
        shown = json.loads(ask(shared_engine, "GET", "/containers/box/json").body)
        assert (shown["Mounts"], shown["NetworkSettings"]["Ports"]) == ([], {})
        assert shown["Name"] == "/box"
        data = make_tar({"note": b"text"})
        put = ask(shared_engine, "PUT", "/containers/box/archive?path=/", data, "application/x-tar")
        assert put.status == 200
        got = ask(shared_engine, "GET", "/containers/box/archive?path=/note")
        assert b"text" in got.body
        assert got.headers["X-Docker-Container-Path-Stat"]
        assert ask(shared_engine, "DELETE", "/containers/box").status == 409
    finally:
        assert ask(shared_engine, "DELETE", "/containers/box?force=True").status == 204


def test_images_and_registries(shared_engine: Engine) -> None:
    shown = ask(shared_engine, "GET", "/images/docker.io/library/busybox:latest/json")
    assert json.loads(shown.body)["RepoTags"] == ["busybox:latest"]
    saved = ask(shared_engine, "GET", "/images/busybox/get")
    assert b"manifest.json" in saved.body
    # Nothing listens on port 1.
    far = ask(shared_engine, "GET", "/distribution/127.0.0.1:1/a/json")
    assert (far.status, far.kind) == (503, JSON)
    login = b'{"username":"a","password":"b","serveraddress":"127.0.0.1:1"}'
    refused = ask(shared_engine, "POST", "/auth", login)
    assert refused.status >= 400
    assert "127.0.0.1:1" in refused.message


def test_a_container_made_by_a_client_of_each_age(shared_engine: Engine) -> None:
    request = (
        b'{"Image":"busybox","HostConfig":{"NetworkMode":"aged","AutoRemove":true,'
        b'"Annotations":{"a":"b"}},"Healthcheck":{"Test":["NONE"]}}'
    )
    assert ask(shared_engine, "POST", "/networks/create", b'{"Name":"aged"}').status == 201
    try:
        for version, removes, shares, annotated in (
            ("1.24", False, True, False), ("1.39", True, True, False),
            ("1.42", True, False, False), ("1.43", True, False, True), ("1.51", True, False, True),
        ):  # fmt: skip
            made = ask(shared_engine, "POST", f"/v{version}/containers/create?name=old", request)
            assert made.status == 201, made
            shown = json.loads(ask(shared_engine, "GET", f"/v{version}/containers/old/json").body)
            host = shown["HostConfig"]
            assert host["AutoRemove"] is removes, version
            assert (host["IpcMode"] == "shareable") is shares, version
            assert ("Annotations" in host) is annotated, version
            aliases: list[str] = shown["NetworkSettings"]["Networks"]["aged"]["Aliases"] or []
            assert (shown["Id"][:12] in aliases) is (version < "1.45"), version
            layers = shown["GraphDriver"]
            assert layers["Name"] == shown["Driver"], version
            assert layers["Name"] != "overlay2" or layers["Data"]["UpperDir"], version
            # A wait knows conditions from 1.30 on.
            waits = ask(shared_engine, "POST", f"/v{version}/containers/old/wait?condition=x")
            assert waits.status == (400 if version > "1.30" else 200), version
            assert ask(shared_engine, "DELETE", "/containers/old").status == 204
            (network,) = (
                item
                for item in json.loads(ask(shared_engine, "GET", f"/v{version}/networks").body)
                if item["Name"] == "aged"
            )
            assert network["Containers"] == {}
    finally:
        assert ask(shared_engine, "DELETE", "/networks/aged").status == 204


def test_an_image_and_the_disk_told_to_clients_of_each_age(shared_engine: Engine) -> None:
    for version in ("1.24", "1.41", "1.42", "1.44", "1.45", "1.50", "1.51"):
        image = json.loads(ask(shared_engine, "GET", f"/v{version}/images/busybox/json").body)
        assert ("VirtualSize" in image) is (version < "1.44"), version
        assert ("ContainerConfig" in image) is (version < "1.45"), version
        assert ("Hostname" in image["Config"]) is (version < "1.50"), version
        assert {"Labels", "Entrypoint", "OnBuild", "Volumes"} <= set(image["Config"]), version
        # The kind is a question of 1.42.
        usage = json.loads(ask(shared_engine, "GET", f"/v{version}/system/df?type=volume").body)
        assert (usage["Images"] is None) is (version >= "1.42"), version
        assert ("BuilderSize" in usage) is (version < "1.42"), version
        listed = f"/v{version}/images/json?filter=nosuch"
        assert (json.loads(ask(shared_engine, "GET", listed).body) == []) is (version < "1.41")
