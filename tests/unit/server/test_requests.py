"""What each route makes of path, query, headers and body."""

import base64
import json

import pytest

from kedge.api.buildcaches import parse_cache
from kedge.api.options import (
    BuildOptions,
    EventsOptions,
    ImageListOptions,
    ListOptions,
    LogOptions,
    WaitCondition,
)
from kedge.api.types.system import AuthConfig
from kedge.lib.filters import Filters
from tests.unit.server.fakes import CONTAINER_ID, IMAGE_ID
from tests.unit.server.harness import Stage, play, request_bytes

JSON_TYPE = "Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ("Content-Type: text/plain\r\n", b"{}",
         "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("Content-Type:\r\n", b"{}",
         "malformed Content-Type header (): mime: no media type"),
        (JSON_TYPE, b"{", "invalid JSON: unexpected EOF"),
        (JSON_TYPE, b"{}{}", "unexpected content after JSON"),
        (JSON_TYPE, b"{} trailing", "unexpected content after JSON"),
        (JSON_TYPE, b"", "invalid JSON: got EOF while reading request body"),
        (JSON_TYPE, b'{"Image": 3}',
         "invalid JSON: Expected `str`, got `int` - at `$.Image`"),
    ],
)  # fmt: skip
def test_request_json_is_strict(headers: str, body: bytes, message: str) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", "/containers/create", headers=headers, body=body)
        assert (got.status, json.loads(got.body)) == (400, {"message": message})

    play(scenario)


def test_content_type_with_a_charset_is_json() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask(
            "POST",
            "/containers/create?name=db&platform=linux/amd64",
            headers="Content-Type: application/json; charset=utf-8\r\n",
            body=b'{"image": "redis", "CMD": "redis-server"}',
        )
        assert (got.status, json.loads(got.body)) == (201, {"Id": CONTAINER_ID, "Warnings": []})
        (created,) = stage.engine.containers.created
        assert (created.image, created.cmd) == ("redis", ["redis-server"])
        assert stage.engine.containers.calls == [("create", "db", "linux/amd64")]

    play(scenario)


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("GET", "/containers/json?all=1&limit=5&size=true",
         ("list", ListOptions(all=True, limit=5, size=True))),
        ("GET", '/containers/json?all=0&size=False&filters={"status":["exited"]}',
         ("list", ListOptions(filters=Filters({"status": ["exited"]})))),
        ("GET", "/containers/web/json?size=none", ("inspect", "web", False)),
        ("POST", "/containers/web/start", ("start", "web")),
        ("POST", "/containers/web/stop", ("stop", "web", "", None)),
        ("POST", "/containers/web/stop?t=-1", ("stop", "web", "", -1)),
        ("POST", "/v1.41/containers/web/stop?t=2&signal=HUP", ("stop", "web", "", 2)),
        ("POST", "/containers/web/restart?t=0&signal=INT", ("restart", "web", "INT", 0)),
        ("POST", "/containers/web/kill?signal=9", ("kill", "web", "9")),
        ("POST", "/containers/web/rename?name=new", ("rename", "web", "new")),
        ("POST", "/containers/web/pause", ("pause", "web")),
        ("POST", "/containers/web/unpause", ("unpause", "web")),
        ("POST", "/containers/web/resize?h=24&w=80", ("resize", "web", 80, 24)),
        ("GET", "/containers/web/top", ("top", "web", "-ef")),
        ("GET", "/containers/web/top?ps_args=aux", ("top", "web", "aux")),
        ("GET", "/containers/web/stats?stream=0", ("stats", "web", False, False)),
        ("GET", "/containers/web/stats?stream=false&one-shot=1", ("stats", "web", False, True)),
        ("GET", "/containers/web/stats", ("stats", "web", True, False)),
        ("DELETE", "/containers/web?force=1&v=1", ("remove", "web", True, True, False)),
        ("GET", "/containers/web/logs?stdout=1&stderr=1&tail=all&since=1.5&until=2&timestamps=1",
         ("logs", "web", LogOptions(stdout=True, stderr=True, since_ns=1_500_000_000,
                                    until_ns=2_000_000_000, timestamps=True))),
        ("GET", "/containers/web/logs?stderr=1&tail=10&details=1",
         ("logs", "web", LogOptions(stderr=True, tail=10, details=True))),
    ],
)  # fmt: skip
def test_container_parameters(method: str, target: str, call: tuple[object, ...]) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        target_ = target.replace('"', "%22").replace("{", "%7B").replace("}", "%7D")
        got = await client.ask(method, target_)
        assert got.status < 400, got
        assert stage.engine.containers.calls == [call]

    play(scenario)


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("POST", "/containers/web/stop?t=soon",
         'strconv.ParseInt: parsing "soon": invalid syntax'),
        ("POST", "/containers/web/resize?h=x&w=1",
         'strconv.ParseInt: parsing "x": invalid syntax'),
        ("POST", "/containers/web/resize?h=70000&w=1", "invalid terminal size: 1x70000"),
        ("POST", "/containers/web/wait?condition=bored", 'invalid condition: "bored"'),
        ("GET", "/containers/web/stats?one-shot=1", "cannot have stream=true and one-shot=true"),
        ("GET", "/containers/web/logs?stdout=1&since=noon", "invalid timestamp: 'noon'"),
        ("GET", "/containers/json?filters=nonsense", "invalid filter: nonsense"),
        ("GET", "/system/df?type=dust", "unknown object type: dust"),
        ("POST", "/images/create", "no image to pull: give fromImage"),
        ("POST", "/images/bootstrap", "no image to make: give name"),
        ("POST", "/build?version=2",
         "build protocol 2 (BuildKit) is not served: use version=1"),
        ("POST", "/build?buildargs=%7B", "error reading buildargs: invalid JSON: unexpected EOF"),
    ],
)  # fmt: skip
def test_bad_parameters(method: str, target: str, message: str) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask(method, target)
        assert (got.status, json.loads(got.body)) == (400, {"message": message})

    play(scenario)


def test_start_refuses_a_host_config() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.ask("POST", "/containers/web/start", body=b"{}")).status == 204
        got = await client.ask("POST", "/containers/web/start", body=b'{"Binds":[]}')
        assert got.status == 400
        assert b"removed in v1.24" in got.body

    play(scenario)


def test_wait_defaults_to_not_running() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        stage.engine.containers.exited.set_exception(OSError("the shim is gone"))
        got = await client.ask("POST", "/containers/web/wait")
        assert stage.engine.containers.calls == [("wait", "web", WaitCondition.NOT_RUNNING)]
        assert json.loads(got.body) == {
            "StatusCode": -1,
            "Error": {"Message": "the shim is gone"},
        }

    play(scenario)


@pytest.mark.parametrize(
    ("target", "tty", "content_type"),
    [
        ("/v1.51/containers/web/logs?stdout=1", False,
         "application/vnd.docker.multiplexed-stream"),
        ("/v1.41/containers/web/logs?stdout=1", False, "application/vnd.docker.raw-stream"),
        ("/v1.51/containers/web/logs?stdout=1", True, "application/vnd.docker.raw-stream"),
    ],
)  # fmt: skip
def test_logs_say_how_they_are_framed(target: str, *, tty: bool, content_type: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.containers.tty = tty
        client = await stage.connect()
        got = await client.get(target)
        assert got.headers["content-type"] == content_type
        assert got.body == b"".join(stage.engine.containers.log_chunks)

    play(scenario)


def test_update_exec_and_prune_bodies() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", "/containers/web/update", body=b'{"Memory": 7}')
        assert json.loads(got.body) == {"Warnings": []}
        assert stage.engine.containers.calls == [("update", "web", 7)]
        got = await client.ask("POST", "/containers/web/exec", body=b'{"Cmd": ["ls"]}')
        assert (got.status, json.loads(got.body)) == (201, {"Id": "e" * 64})
        got = await client.ask("POST", "/containers/web/exec", body=b"{}")
        assert (got.status, json.loads(got.body)) == (
            400,
            {"message": "no exec command specified"},
        )
        got = await client.ask("POST", "/exec/abc/resize?h=1&w=2")
        assert got.status == 200
        assert stage.engine.execs.calls[-1] == ("resize", "abc", 2, 1)
        got = await client.ask("POST", "/containers/prune")
        assert json.loads(got.body)["SpaceReclaimed"] == 7
        got = await client.ask("POST", "/build/prune?keep-storage=5")
        assert json.loads(got.body) == {"CachesDeleted": [], "SpaceReclaimed": 5}

    play(scenario)


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("GET", "/images/json?all=1&shared-size=1&digests=1",
         ("list", ImageListOptions(all=True, shared_size=True, digests=True))),
        ("GET", "/images/localhost:5000/a/b/json?platform=linux/arm64",
         ("inspect", "localhost:5000/a/b", "linux/arm64")),
        ("GET", '/images/busybox/json?platform={"os":"linux","architecture":"arm","variant":"v7"}',
         ("inspect", "busybox", "linux/arm/v7")),
        ("GET", '/images/busybox/history?platform={"os":"linux","architecture":"amd64"}',
         ("history", "busybox", "linux/amd64")),
        ("DELETE",
         '/images/a?platforms={"os":"linux","architecture":"arm64"}&platforms=linux/amd64',
         ("remove", "a", False, True, "linux/arm64", "linux/amd64")),
        ("GET", "/images/docker.io%2Flibrary%2Fbusybox/history",
         ("history", "docker.io/library/busybox", "")),
        ("POST", "/images/busybox/tag?repo=docker.io%2Flibrary%2Ffoo&tag=2",
         ("tag", "busybox", "docker.io/library/foo", "2")),
        ("DELETE", "/images/busybox:1?force=1&noprune=1",
         ("remove", "busybox:1", True, False)),
        ("POST", "/images/create?fromImage=busybox&tag=1&platform=linux",
         ("pull", "busybox", "1", "linux", None)),
        ("POST", "/images/bootstrap?name=python:3.11-slim", ("bootstrap", "python:3.11-slim")),
        ("POST", "/images/prune?filters=%7B%22dangling%22:%7B%22true%22:true%7D%7D",
         ("prune", Filters({"dangling": ["true"]}))),
    ],
)  # fmt: skip
def test_image_parameters(method: str, target: str, call: tuple[object, ...]) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask(method, target)
        assert got.status < 400
        assert stage.engine.images.calls == [call]

    play(scenario)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('platform={"os":"linux","architecture":""}', "both OS and Architecture must be provided"),
        ("platform={", "invalid JSON"),
        ("platform=linux/amd64&platform=linux/arm64", "only one platform"),
    ],
)
def test_platforms_that_are_none(query: str, message: str) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        for path in ("/images/a/json", "/images/a/history", "/images/a/get"):
            got = await client.get(f"{path}?{query}")
            assert (got.status, message in json.loads(got.body)["message"]) == (400, True)

    play(scenario)


def test_a_build_is_cancelled_by_its_id() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.ask("POST", "/build/cancel?id=abc")).status == 200
        assert stage.engine.builds.cancelled == ["abc"]
        assert (await client.ask("POST", "/build/cancel")).status == 400

    play(scenario)


def encoded(document: object, *, url: bool = True) -> str:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    return encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    ("header", "auth"),
    [
        (encoded({"username": "me", "password": "??>>~~"}),
         AuthConfig(username="me", password="??>>~~")),
        (encoded({"username": "me", "password": "??>>~~"}, url=False),
         AuthConfig(username="me", password="??>>~~")),
        (encoded({"username": "me"}).rstrip("="), AuthConfig(username="me")),
        ("e30=", None),
        ("", None),
        ("no base64 at all!", None),
        (encoded([1, 2]), None),
    ],
)  # fmt: skip
def test_pull_credentials_are_read_or_ignored(header: str, auth: AuthConfig | None) -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.ask(
            "POST", "/images/create?fromImage=a", headers=f"X-Registry-Auth: {header}\r\n"
        )
        assert stage.engine.images.calls == [("pull", "a", "", "", auth)]

    play(scenario)


def test_pull_progress_is_one_object_a_line() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.ask("POST", "/images/create?fromImage=busybox")
        assert got.headers["content-type"] == "application/json"
        lines = got.body.split(b"\r\n")
        assert lines.pop() == b""
        assert [json.loads(line) for line in lines] == [
            {"status": "Pulling from library/busybox", "id": "latest"},
            {
                "status": "Downloading",
                "progressDetail": {"current": 1, "total": 2},
                "id": "abc",
            },
            {"status": "Status: Downloaded newer image for busybox:latest"},
        ]

    play(scenario)


def test_a_pull_that_fails_at_once_is_an_http_error() -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.images.fail_at = 0
        client = await stage.connect()
        got = await client.ask("POST", "/images/create?fromImage=busybox")
        assert (got.status, json.loads(got.body)) == (404, {"message": "manifest unknown"})

    play(scenario)


def test_a_pull_that_fails_later_says_so_in_the_stream() -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.images.fail_at = 1
        client = await stage.connect()
        got = await client.ask("POST", "/images/create?fromImage=busybox")
        assert got.status == 200
        assert json.loads(got.body.split(b"\r\n")[1]) == {
            "errorDetail": {"message": "manifest unknown"},
            "error": "manifest unknown",
        }

    play(scenario)


def test_sizes_are_said_twice_to_old_clients() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        old = json.loads((await client.get("/v1.43/images/json")).body)
        new = json.loads((await client.get("/v1.44/images/json")).body)
        assert old[0]["VirtualSize"] == old[0]["Size"]
        assert "VirtualSize" not in new[0]
        inspected = json.loads((await client.get("/v1.40/images/busybox/json")).body)
        assert inspected["VirtualSize"] == 5

    play(scenario)


def test_old_clients_find_an_images_volumes_where_they_look() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        old = json.loads((await client.get("/v1.44/images/busybox/json")).body)
        new = json.loads((await client.get("/v1.45/images/busybox/json")).body)
        assert old["ContainerConfig"] == old["Config"]
        assert "ContainerConfig" not in new
        agent = "User-Agent: docker-compose/1.29.2 docker-py/5.0.3\r\n"
        answer = await client.get("/v1.51/images/busybox/json", headers=agent)
        assert "ContainerConfig" in json.loads(answer.body)

    play(scenario)


def test_build_options_from_query_and_headers() -> None:
    query = (
        "dockerfile=D&t=a:1&t=b&remote=http://x&q=1&nocache=1&pull=1&rm=0&forcerm=1&target=s"
        "&platform=linux/amd64&networkmode=host&buildargs=%7B%22A%22:%221%22,%22B%22:null%7D"
        "&labels=%7B%22l%22:%22v%22%7D&cachefrom=%5B%22c%22%5D&extrahosts=h:1.2.3.4"
        "&extrahosts=%7B%22i%22:%225.6.7.8%22%7D&securityopt=%5B%22seccomp=unconfined%22%5D"
        "&ulimits=%5B%7B%22Name%22:%22nofile%22,%22Soft%22:1,%22Hard%22:2%7D%5D&memory=10"
        "&memswap=-1&cpushares=3&cpuperiod=4&cpuquota=5&cpusetcpus=0-1&cpusetmems=0&shmsize=6"
        "&cgroupparent=/p&session=s&buildid=i&hostcerts=1&version=1&squash=0"
    )
    auths = {"https://index.docker.io/v1/": {"username": "me"}}

    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        headers = f"X-Registry-Config: {encoded(auths)}\r\nContent-Type: application/x-tar\r\n"
        got = await client.ask("POST", f"/build?{query}", headers=headers, body=b"")
        assert got.status == 200
        assert stage.engine.builds.options == BuildOptions(
            dockerfile="D",
            tags=("a:1", "b"),
            remote="http://x",
            quiet=True,
            no_cache=True,
            pull=True,
            remove=False,
            force_remove=True,
            target="s",
            platform="linux/amd64",
            network_mode="host",
            build_args={"A": "1", "B": None},
            labels={"l": "v"},
            cache_from=(parse_cache("c", target=False),),
            extra_hosts=("h:1.2.3.4", "i:5.6.7.8"),
            security_opt=("seccomp=unconfined",),
            ulimits=("nofile=1:2",),
            memory=10,
            memory_swap=-1,
            cpu_shares=3,
            cpu_period=4,
            cpu_quota=5,
            cpuset_cpus="0-1",
            cpuset_mems="0",
            shm_size=6,
            cgroup_parent="/p",
            session="s",
            build_id="i",
            auths={"https://index.docker.io/v1/": AuthConfig(username="me")},
            content_type="application/x-tar",
            host_certs=True,
        )

    play(scenario)


def test_build_progress_flows_while_the_context_still_comes() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /build?t=x HTTP/1.1\r\nHost: k\r\nContent-Type: application/x-tar\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        status, _ = await client.answer_head()
        assert status == 200
        lines = client.chunks()
        assert json.loads(await anext(lines)) == {"stream": "Step 1/1 : FROM scratch\n"}
        for number in range(1, 4):
            await client.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
            assert json.loads(await anext(lines)) == {"stream": f"received {number * 1024}\n"}
        await client.send(b"0\r\n\r\n")
        assert json.loads(await anext(lines)) == {"aux": {"ID": IMAGE_ID}}
        assert "Successfully built" in json.loads(await anext(lines))["stream"]
        assert [line async for line in lines] == []
        assert (await client.get("/_ping")).status == 200

    play(scenario)


def test_a_build_whose_client_vanishes_is_cancelled() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(
            b"POST /build HTTP/1.1\r\nHost: k\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
        )
        await client.answer_head()
        client.close()
        await stage.shared.nobody.wait()

    play(scenario)


def test_events_parameters_and_auth() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        stage.engine.system.more_events.set()
        await client.get(
            "/events?since=1.25&until=3&filters=%7B%22type%22:%5B%22container%22%5D%7D"
        )
        expected = EventsOptions(
            since_ns=1_250_000_000,
            until_ns=3_000_000_000,
            filters=Filters({"type": ["container"]}),
        )
        assert stage.engine.system.calls == [("events", expected)]
        got = await client.ask("POST", "/auth", body=b'{"username": "me"}')
        assert json.loads(got.body) == {"IdentityToken": "", "Status": "Login Succeeded"}
        got = await client.get("/system/df?type=image&type=volume")
        assert stage.engine.system.calls[-1] == ("df", frozenset({"image", "volume"}))

    play(scenario)


def test_stats_stream_line_by_line() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request_bytes("GET", "/containers/web/stats"))
        await client.answer_head()
        samples = [json.loads(chunk) async for chunk in client.chunks()]
        assert [sample["num_procs"] for sample in samples] == [0, 1]

    play(scenario)


def test_options_is_answered_for_any_path() -> None:
    async def scenario(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.ask("OPTIONS", "/anything")).status == 200

    play(scenario)
