"""Registries: pulling and pushing a large image, and how fast the servers are.

``r-pull`` and ``r-push`` compare engines against one server, Debian's docker-registry. ``r-serve``,
``r-small`` and ``r-crowd`` compare servers, each held to the first processor while the client has
the others.
"""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import engines, material
from bench.engines import KEDGE_CLI, Daemon
from bench.measure import Contender, Row
from bench.processes import MeasureError, Service, run
from bench.rows import PODMAN, Field

NAMES: Final = ("r-pull", "r-push", "r-serve", "r-small", "r-crowd")
_WARM_UPS: Final = 1
_LAYERS: Final = 10
_LAYER_SIZE: Final = 30_000_000
_BLOB_SIZE: Final = 300_000_000
_SMALL_SIZE: Final = 2_000
_SMALL_COUNT: Final = 500
_CROWD: Final = 500
_CROWD_SIZE: Final = 400_000
_SKOPEO_AND_TAR: Final = "skopeo copy + GNU tar"
_KEDGE_SERVER: Final = "kedge registry serve"
_DEBIANS: Final = "docker-registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server with a blob of each size."""

    name: str
    address: tuple[str, int]
    blobs: dict[int, str]


def measure(field: Field, wanted: set[str], root: Path, runs: int) -> list[Row]:
    """Return the wanted rows, measured."""
    return [*_measure_clients(field, wanted, root, runs), *_measure_servers(wanted, root, runs)]


def _measure_clients(field: Field, wanted: set[str], root: Path, runs: int) -> Iterator[Row]:
    if not wanted & {"r-pull", "r-push"}:
        return
    layout = root / "large"
    variants = _WARM_UPS + runs
    material.write_big_image(layout, layers=_LAYERS, layer_size=_LAYER_SIZE, variants=variants)
    if not engines.has_registry() or shutil.which("skopeo") is None:
        return
    address = "127.0.0.1:5010"
    (root / "registry").mkdir()
    with engines.debians_registry(root / "registry", address):
        for number in range(1, variants + 1):
            copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false"]
            run([*copy, f"oci:{layout}:{number}", f"docker://{address}/big:{number}"])
        if "r-pull" in wanted:
            yield _measured(_pulling(field, f"{address}/big", variants, root / "skopeo"), runs)
        if "r-push" in wanted:
            with _pushing(field, f"{address}/big:1", layout, root / "pushed") as row:
                yield _measured(row, runs)


def _pulling(field: Field, repository: str, variants: int, scratch: Path) -> Row:
    """Return the row of pulling an image nothing of which is there, another one each time.

    Removing it in between would measure something else: ext4 passes over inodes that were freed
    a moment ago, one by one, for every file that is made in their group.
    """
    contenders = [
        _pull_contender(name, _api_puller(daemon, repository), variants)
        for name, daemon in field.daemons()
    ]
    scratch.mkdir()
    contenders.append(_pull_contender(_SKOPEO_AND_TAR, _unpacker(repository, scratch), variants))
    if field.podman:
        words = [*field.podman, "pull", "-q", "--tls-verify=false"]

        def pull(tag: str) -> None:
            run([*words, f"{repository}:{tag}"])

        contenders.append(_pull_contender(PODMAN, pull, variants))
    title = "pull 300 MB of ten layers from loopback"
    return Row(title=title, contenders=contenders, absent=field.absent)


def _api_puller(daemon: Daemon, repository: str) -> Callable[[str], None]:
    client = daemon.client()
    return lambda tag: client.ask_stream("/images/create", {"fromImage": repository, "tag": tag})


def _unpacker(repository: str, scratch: Path) -> Callable[[str], None]:
    def copy_and_unpack(tag: str) -> None:
        target = scratch / tag
        source = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{repository}:{tag}"]
        run([*source, f"oci:{target}:1"])
        blobs = target / "blobs" / "sha256"
        index = json.loads((target / "index.json").read_bytes())
        manifest = json.loads((blobs / _hex(index["manifests"][0])).read_bytes())
        for number, layer in enumerate(manifest["layers"]):
            directory = target / str(number)
            directory.mkdir()
            run(["tar", "-xzf", str(blobs / _hex(layer)), "-C", str(directory)])

    return copy_and_unpack


def _hex(descriptor: dict[str, str]) -> str:
    return descriptor["digest"].partition(":")[2]


def _pull_contender(name: str, pull: Callable[[str], None], variants: int) -> Contender:
    tags = iter(range(1, variants + 1))
    return Contender(name=name, run=lambda: pull(str(next(tags))))


def _measure_servers(wanted: set[str], root: Path, runs: int) -> Iterator[Row]:
    rows = [row for row in _SERVER_ROWS if row[0] in wanted]
    if not rows:
        return
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server) for server in _servers(root)]
        for _, title, ask in rows:
            row = Row(title=title, contenders=[_asking(server, ask) for server in servers])
            yield _measured(row, runs)


def _measured(row: Row, runs: int) -> Row:
    """Measure a row; a run takes seconds, so that one to warm up is enough."""
    sys.stderr.write(f"measuring: {row.title}\n")
    row.measure(runs, warm_ups=_WARM_UPS)
    return row


@contextlib.contextmanager
def _pushing(field: Field, reference: str, layout: Path, root: Path) -> Generator[Row, None, None]:
    """Yield the row of pushing the image to a registry that has nothing of it, each time."""
    address = "127.0.0.1:5013"
    target = f"{address}/pushed:1"
    root.mkdir()

    def forget() -> None:
        shutil.rmtree(root / "data", ignore_errors=True)

    with engines.debians_registry(root, address):
        contenders: list[Contender] = []
        for name, words, environment in field.command_lines():
            flags = ("--tls-verify=false",) if name == PODMAN else ()
            run([*words, "pull", "-q", *flags, reference], environment=environment)
            run([*words, "tag", reference, target], environment=environment)
            push = [*words, "push", "-q", *flags, target]
            contenders.append(Contender(name=name, run=_bound(push, environment), before=forget))
        copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:1"]
        contenders.append(
            Contender(
                name="skopeo copy", run=_bound([*copy, f"docker://{target}"], {}), before=forget
            )
        )
        yield Row(title="push 300 MB of ten layers to loopback", contenders=contenders)


def _bound(words: list[str], environment: dict[str, str]) -> Callable[[], None]:
    def call() -> None:
        run(words, environment=environment)

    return call


def _servers(root: Path) -> Iterator[contextlib.AbstractContextManager[Served]]:
    yield _kedge_server(root / "kedge-registry")
    if engines.has_registry():
        yield _debians_server(root / "debians-registry")


@contextlib.contextmanager
def _kedge_server(root: Path) -> Generator[Served, None, None]:
    root.mkdir()
    address = ("127.0.0.1", 5011)
    words = [*KEDGE_CLI, "registry", "serve", "--listen", "127.0.0.1:5011", "--root", str(root)]
    with _pinned(words, root / "log", address):
        yield Served(name=_KEDGE_SERVER, address=address, blobs=_fill(address))


@contextlib.contextmanager
def _debians_server(root: Path) -> Generator[Served, None, None]:
    root.mkdir()
    address = ("127.0.0.1", 5012)
    words = engines.registry_command(root, "127.0.0.1:5012")
    with _pinned(words, root / "log", address):
        yield Served(name=_DEBIANS, address=address, blobs=_fill(address))


@contextlib.contextmanager
def _pinned(words: list[str], log: Path, address: tuple[str, int]) -> Generator[None, None, None]:
    def is_ready() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(address) == 0

    service = Service(["taskset", "-c", "0", *words], log, is_ready)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, before - {0} or before)
        yield
    finally:
        os.sched_setaffinity(0, before)
        service.stop()


def _fill(address: tuple[str, int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for size in (_BLOB_SIZE, _CROWD_SIZE, _SMALL_SIZE):
        data = os.urandom(min(size, 1_000_000)) * max(size // 1_000_000, 1)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        connection = http.client.HTTPConnection(*address)
        connection.request("POST", "/v2/bench/blob/blobs/uploads/")
        place = _ended(connection).getheader("location", "")
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        connection.request("PUT", place, data, {"Content-Type": "application/octet-stream"})
        status = _ended(connection).status
        connection.close()
        if status != 201:
            raise MeasureError(f"a registry refuses a blob of {size} bytes: {status}")
        found[size] = digest
    return found


def _ended(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = connection.getresponse()
    response.read()
    return response


def _asking(server: Served, ask: Callable[[Served], None]) -> Contender:
    return Contender(name=server.name, run=lambda: ask(server))


def _whole(server: Served) -> None:
    _get(server, _BLOB_SIZE)


def _small(server: Served) -> None:
    connection = http.client.HTTPConnection(*server.address)
    for _ in range(_SMALL_COUNT):
        connection.request("GET", f"/v2/bench/blob/blobs/{server.blobs[_SMALL_SIZE]}")
        if len(connection.getresponse().read()) != _SMALL_SIZE:
            raise MeasureError(f"{server.name} sends another blob")
    connection.close()


def _crowd(server: Served) -> None:
    failures: list[str] = []

    def one() -> None:
        try:
            _get(server, _CROWD_SIZE)
        except (OSError, MeasureError) as error:
            failures.append(str(error))

    clients = [threading.Thread(target=one) for _ in range(_CROWD)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failures:
        raise MeasureError(f"{len(failures)} of {_CROWD} clients failed: {failures[0]}")


def _get(server: Served, size: int) -> None:
    """Get a blob and throw it away, as cheaply as a client can."""
    request = (
        f"GET /v2/bench/blob/blobs/{server.blobs[size]} HTTP/1.1\r\n"
        "Host: bench\r\nConnection: close\r\n\r\n"
    )
    buffer = bytearray(1 << 18)
    received = 0
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(request.encode())
        while count := connection.recv_into(buffer):
            received += count
    if received < size:
        raise MeasureError(f"{server.name} sent {received} of {size} bytes")


_SERVER_ROWS: Final = (
    ("r-serve", "one core serves a blob of 300 MB", _whole),
    ("r-small", f"one core serves {_SMALL_COUNT} blobs of 2 kB, one after the other", _small),
    ("r-crowd", f"{_CROWD} clients at once get 400 kB each from one core", _crowd),
)
