"""Client and server with a network between them that cuts, delays, corrupts and reorders.

Whatever it does, a copy is right or has failed with a line; nothing wrong is ever kept, and the
next copy over a good network is right.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kedge.distribution.access import RegistryAccess
from kedge.distribution.copying import CopyOptions, ImageCopy
from kedge.distribution.credentials import ANONYMOUS
from kedge.distribution.endpoints import RegistrySettings
from kedge.distribution.places import LayoutPlace, Place, RegistryPlace
from kedge.errdefs import KedgeError
from kedge.oci.hashing import sha256_digest
from kedge.oci.references import parse_reference
from tests.faultyproxy import Fault, FaultyProxy
from tests.integration.pull_faults.conftest import noise
from tests.kedgeregistry import Client, KedgeRegistry, image

pytestmark = pytest.mark.integration

LAYERS = [noise(300_000, seed) for seed in range(4)]
TRIES = 4
FAULTS = [(Fault.CUT,), (Fault.DELAY,), (Fault.CORRUPT,), (Fault.REORDER,), tuple(Fault)]


@pytest.fixture
def access() -> Iterator[RegistryAccess]:
    opened = RegistryAccess(RegistrySettings(max_attempts=3), lambda _domain: ANONYMOUS)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pushed(registry: KedgeRegistry) -> str:
    """An image of four layers in the registry; its digest."""
    with closing(Client(registry.host)) as client:
        config = client.push_blob("net/app", b"{}")
        layers = [client.push_blob("net/app", layer) for layer in LAYERS]
        entries = json.loads(image(config, layers[0], len(LAYERS[0])))
        entries["layers"] = [
            {**entries["layers"][0], "digest": digest, "size": len(layer)}
            for digest, layer in zip(layers, LAYERS, strict=True)
        ]
        answer = client.push_manifest("net/app", "v1", json.dumps(entries).encode())
    assert answer.status == 201, answer
    return answer.headers["docker-content-digest"]


def place(access: RegistryAccess, host: str, name: str, *, push: bool = False) -> RegistryPlace:
    reference = parse_reference(f"{host}/{name}")
    return RegistryPlace(access.client(reference, push=push), reference.tag)


def copies(source: Place, goal: Place, digest: str) -> bool:
    """Copy; tell whether it worked, which must be right then."""
    try:
        done = ImageCopy(source, goal, CopyOptions()).run()
    except KedgeError as error:
        if "\n" in str(error):
            raise
        return False
    assert done.digest == digest
    return True


def assert_layout(directory: Path, digest: str, *, whole: bool) -> None:
    """Check that every blob of a layout is what its name says."""
    blobs = {f"sha256:{file.name}": file for file in (directory / "blobs/sha256").glob("[0-9a-f]*")}
    for name, file in blobs.items():
        if len(file.name) == 64:
            assert sha256_digest(file.read_bytes()) == name
    if whole:
        assert {digest, *(sha256_digest(layer) for layer in LAYERS)} <= blobs.keys()


def assert_registry(registry: KedgeRegistry, repository: str, digest: str, *, whole: bool) -> None:
    """Check that a repository has the image if it names it, and no blob that is another."""
    with closing(Client(registry.host)) as client:
        found = client.ask("GET", f"/v2/{repository}/manifests/v1")
        assert whole <= (found.status == 200)
        for layer in LAYERS:
            blob = client.ask("GET", f"/v2/{repository}/blobs/{sha256_digest(layer)}")
            if found.status == 200:
                assert found.headers["docker-content-digest"] == digest
                assert blob.body == layer
            assert blob.status in {200, 404}
            assert blob.status == 404 or blob.body == layer


@pytest.mark.parametrize("faults", FAULTS, ids="-".join)
def test_the_client_gets_an_image(
    registry: KedgeRegistry,
    access: RegistryAccess,
    pushed: str,
    tmp_path: Path,
    faults: tuple[Fault, ...],
) -> None:
    worked = 0
    with closing(FaultyProxy(registry.host)) as proxy:
        source = place(access, proxy.host, "net/app:v1")
        proxy.faults = faults
        for number in range(TRIES):
            directory = tmp_path / str(number)
            done = copies(source, LayoutPlace(str(directory), "v1"), pushed)
            assert_layout(directory, pushed, whole=done)
            worked += done
        assert set(proxy.spoiled) == set(faults)
        proxy.faults = ()
        last = tmp_path / str(TRIES - 1)
        assert copies(source, LayoutPlace(str(last), "v1"), pushed)
        assert_layout(last, pushed, whole=True)
    if faults in {(Fault.CUT,), (Fault.DELAY,)}:
        assert worked > 0


@pytest.mark.parametrize("faults", FAULTS, ids="-".join)
def test_the_server_takes_an_image(
    registry: KedgeRegistry,
    access: RegistryAccess,
    pushed: str,
    faults: tuple[Fault, ...],
) -> None:
    source = place(access, registry.host, "net/app:v1")
    worked = 0
    with closing(FaultyProxy(registry.host)) as proxy:
        proxy.faults = faults
        for number in range(TRIES):
            repository = f"got/{'-'.join(faults)}{number}"
            goal = place(access, proxy.host, f"{repository}:v1", push=True)
            done = copies(source, goal, pushed)
            assert_registry(registry, repository, pushed, whole=done)
            worked += done
        assert set(proxy.spoiled) == set(faults)
        proxy.faults = ()
        last = f"got/{'-'.join(faults)}{TRIES - 1}"
        assert copies(source, place(access, proxy.host, f"{last}:v1", push=True), pushed)
        assert_registry(registry, last, pushed, whole=True)
    if faults in {(Fault.CUT,), (Fault.DELAY,)}:
        assert worked > 0
