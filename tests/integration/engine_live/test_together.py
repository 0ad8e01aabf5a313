"""Everything at once on few names: each call gets an answer of its own, what is left is true."""

import contextlib
import json
import random
import threading
from collections.abc import Callable
from typing import TypeAlias

import pytest

from kedge.client.http import EngineClient, Query
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.jsontypes import JsonObject
from tests.engine import Engine, make_tar

pytestmark = pytest.mark.integration

_NAMES = ("aa", "bb")
_CLIENTS = 6


Call: TypeAlias = Callable[[EngineClient], bytes]


def post(path: str, query: "Query | None" = None, document: JsonObject | None = None) -> Call:
    return lambda client: client.post(path, query or {}, document).read()


def get(path: str, query: "Query | None" = None) -> Call:
    return lambda client: client.get(path, query or {}).read()


def delete(path: str, query: "Query | None" = None) -> Call:
    return lambda client: client.delete(path, query or {}).read()


def remove(container: str) -> Call:
    return delete(f"/containers/{container}", {"force": True})


def calls_on(name: str, other: str) -> list[Call]:
    """Return what clients may want of a container, in any order."""
    path = f"/containers/{name}"
    body: JsonObject = {"Image": "busybox", "Cmd": ["sleep", "600"]}
    member: JsonObject = {"Container": name}

    def run_in(client: EngineClient) -> bytes:
        made = client.post(f"{path}/exec", {}, {"Cmd": ["true"]}).object()
        return client.post(f"/exec/{made['Id']}/start", {}, {"Detach": True}).read()

    return [
        *[post("/containers/create", {"name": name}, body)] * 3,
        post("/containers/create", {"name": name}, {**body, "HostConfig": {"AutoRemove": True}}),
        *[post(f"{path}/start")] * 3,
        post(f"{path}/stop", {"t": 0}),
        post(f"{path}/restart", {"t": 0}),
        post(f"{path}/kill"),
        post(f"{path}/pause"),
        post(f"{path}/unpause"),
        post(f"{path}/rename", {"name": other}),
        post(f"{path}/update", {}, {"CpuShares": 512}),
        post("/networks/together/connect", {}, member),
        post("/networks/together/disconnect", {}, {**member, "Force": True}),
        post("/commit", {"container": name, "repo": "together"}),
        run_in,
        get(f"{path}/json", {"size": True}),
        get(f"{path}/top"),
        get(f"{path}/changes"),
        get(f"{path}/archive", {"path": "/etc/passwd"}),
        get(f"{path}/logs", {"stdout": True}),
        delete(path),
        remove(name),
    ]


def listed(engine: Engine) -> list[tuple[str, str]]:
    with contextlib.closing(engine.client()) as client:
        found = client.get("/containers/json", {"all": True}).objects()
    return sorted((str(item["Id"]), json.dumps(item["Names"])) for item in found)


def test_a_container_that_is_gone_is_not_written_down_again(engine: Engine) -> None:
    engine.docker("network", "create", "together")
    body: JsonObject = {"Image": "busybox", "Cmd": ["sleep", "600"]}

    def work(call: Call) -> None:
        with contextlib.closing(engine.client()) as client, contextlib.suppress(KedgeError):
            call(client)

    for _ in range(8):
        with contextlib.closing(engine.client()) as client:
            key = str(client.post("/containers/create", {"name": "aa"}, body).object()["Id"])
            client.post(f"/containers/{key}/start").read()
            # What it had is being given back when this is answered, and who comes now has to wait.
            client.post(f"/containers/{key}/kill").read()
        calls = [
            remove(key),
            post("/networks/together/connect", {}, {"Container": key}),
            post(f"/containers/{key}/rename", {"name": "bb"}),
            post(f"/containers/{key}/update", {}, {"CpuShares": 512}),
        ]
        workers = [threading.Thread(target=work, args=(call,)) for call in calls]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert listed(engine) == []
    engine.kill()
    engine.start()
    assert listed(engine) == []
    engine.docker("network", "rm", "together")


def calls_on_things(choice: random.Random) -> list[Call]:
    """Return what clients may want of images, volumes and networks."""
    image, volume, network = (
        choice.choice(pair) for pair in (("i1", "i2"), ("v1", "v2"), ("n1", "n2"))
    )
    steps = f"FROM busybox\nENV A={choice.randrange(6)}\nRUN echo {choice.randrange(4)} > /x\n"
    context = make_tar({"Dockerfile": steps.encode()})
    host: JsonObject = {"AutoRemove": True, "Binds": [f"{volume}:/v"], "NetworkMode": network}
    body: JsonObject = {"Image": image, "Cmd": ["true"], "HostConfig": host}

    def send(path: str, data: bytes, client: EngineClient) -> bytes:
        kind = "application/x-tar"
        return client.request("POST", path, {"t": image}, body=data, content_type=kind).read()

    def build(client: EngineClient) -> bytes:
        return send("/build", context, client)

    def load(client: EngineClient) -> bytes:
        return send("/images/load", client.get(f"/images/{image}/get").read(), client)

    def run(client: EngineClient) -> bytes:
        made = client.post("/containers/create", {}, body).object()
        try:
            return client.post(f"/containers/{made['Id']}/start").read()
        except KedgeError:
            return remove(str(made["Id"]))(client)

    return [
        *[build] * 3,
        *[load, run] * 2,
        get(f"/images/{image}/get"),
        post("/images/busybox/tag", {"repo": image}),
        *[delete(f"/images/{image}", {"force": True})] * 2,
        post("/images/prune"),
        post("/containers/prune"),
        post("/volumes/create", {}, {"Name": volume}),
        delete(f"/volumes/{volume}"),
        post("/volumes/prune", {"filters": json.dumps({"all": ["1"]})}),
        post("/networks/create", {}, {"Name": network}),
        delete(f"/networks/{network}"),
        post("/networks/prune"),
        get("/system/df"),
        get("/images/json", {"all": True, "shared-size": True}),
    ]


def meet(engine: Engine, choose: Callable[[random.Random], Call], calls: int) -> None:
    """Have several clients call at once; no answer may be a failure of the engine's own."""
    broken: list[str] = []

    def work(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(calls):
            with contextlib.closing(engine.client()) as client:
                try:
                    choose(choice)(client)
                except SystemFailureError as error:
                    broken.append(str(error))
                except KedgeError:
                    # Somebody else was faster: a conflict, or nothing there.
                    continue

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(_CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert not any(worker.is_alive() for worker in workers), "the engine does not answer any more"
    assert broken == []
    assert "Traceback" not in engine.log.read_text()


def test_calls_that_meet(engine: Engine) -> None:
    engine.docker("network", "create", "together")
    meet(
        engine,
        lambda choice: choice.choice(
            calls_on(choice.choice(_NAMES), choice.choice((*_NAMES, "cc")))
        ),
        70,
    )
    # What the engine knows is what it has written down; `--rm` containers that ended go.
    before = listed(engine)
    engine.kill()
    engine.start()
    assert set(listed(engine)) <= set(before)
    for name in (*_NAMES, "cc"):
        engine.docker("rm", "-f", name, check=False)
    assert listed(engine) == []
    engine.docker("network", "rm", "together")


def test_images_volumes_and_networks_that_meet(engine: Engine) -> None:
    meet(engine, lambda choice: choice.choice(calls_on_things(choice)), 40)
    engine.docker("run", "--rm", "busybox", "true")
    engine.docker("network", "prune", "-f")
