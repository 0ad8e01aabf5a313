"""Computing digests and the chain ids made of them.

Apart from `kedge.oci.digests` because ``hashlib`` loads OpenSSL, which short-lived processes
cannot afford.
"""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from kedge.oci.digests import parse_digest


class Hash(Protocol):
    """A running hash, as `hashlib` makes them."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add ``data``; releases the GIL for anything longer than 2 KiB."""
        ...

    def hexdigest(self) -> str:
        """Return the digits of everything added so far."""
        ...


def new_hash(algorithm: str = "sha256") -> Hash:
    """Return an empty hash of one of the algorithms in `kedge.oci.digests.HEX_LENGTHS`."""
    return hashlib.new(algorithm, usedforsecurity=False)


def sha256_digest(data: bytes | memoryview) -> str:
    """Return ``sha256:…`` of ``data``."""
    return f"sha256:{hashlib.sha256(data, usedforsecurity=False).hexdigest()}"


def has_digest(data: bytes, digest: str) -> bool:
    """Tell whether ``data`` is what ``digest`` names, whichever registered algorithm it uses.

    Raises:
        InvalidParameterError: ``digest`` is not a digest.
    """
    algorithm, _, encoded = parse_digest(digest).partition(":")
    running = new_hash(algorithm)
    running.update(data)
    return running.hexdigest() == encoded


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the chain id after each layer, base layer first (image-spec, "Layer ChainID").

    The last one names the whole file system; equal prefixes of two images give equal ids, which
    is what lets images share snapshots.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256_digest(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
