"""Many clients at once, and blobs that are much larger than the memory a registry may take."""

import asyncio
import re
from pathlib import Path

import pytest

from kedge.oci.hashing import sha256_digest
from tests.kedgeregistry import OCTETS, Client, KedgeRegistry

pytestmark = pytest.mark.integration

CLIENTS = 500
MEGABYTE = 1 << 20


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def get(host: str, path: str) -> int:
    """Return how many bytes of a body come."""
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    size = 0
    while data := await reader.read(1 << 18):
        size += len(data)
    writer.close()
    await writer.wait_closed()
    return size


def test_five_hundred_clients_at_once(registry: KedgeRegistry, client: Client) -> None:
    digest = client.push_blob("many/clients", bytes(300_000))

    async def crowd() -> list[int]:
        path = f"/v2/many/clients/blobs/{digest}"
        return await asyncio.gather(*(get(registry.host, path) for _ in range(CLIENTS)))

    assert asyncio.run(crowd()) == [300_000] * CLIENTS


def test_memory_does_not_grow_with_a_blob(own: KedgeRegistry) -> None:
    own.start()
    client = Client(own.host)
    peaks: list[int] = []
    for size in (8 * MEGABYTE, 96 * MEGABYTE):
        data = bytes(size)
        digest = sha256_digest(data)
        place = client.ask("POST", "/v2/large/blob/blobs/uploads/").headers["location"]
        assert client.ask("PUT", f"{place}?digest={digest}", data, OCTETS).status == 201
        got = asyncio.run(get(own.host, f"/v2/large/blob/blobs/{digest}"))
        assert got == size
        peaks.append(peak_bytes(own.pid))
    # The difference is far below that of the blobs.
    assert peaks[1] - peaks[0] < 16 * MEGABYTE
    client.close()
