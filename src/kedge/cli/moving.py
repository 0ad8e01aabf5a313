"""An image from one engine to another, without a registry: only the layers that are missing there.

Both ends are engines; ``ssh://`` reaches one elsewhere. What the other end lacks is asked first
and then sent as an archive that leaves the rest out. An engine that cannot be asked, such as
dockerd, is sent everything.
"""

import sys
from contextlib import closing
from typing import Final

from kedge.cli.progress import show_progress
from kedge.cli.remotes import dialled
from kedge.client.hosts import parse_host
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.jsontypes import Json
from kedge.lib.units import format_size

ELSEWHERE: Final = ("ssh://", "unix://", "tcp://")
"""How the address of an engine begins, where a name of an image cannot."""


def push_to(client: EngineClient, name: str, address: str, *, quiet: bool) -> None:
    """Bring an image to the engine at ``address``."""
    with closing(EngineClient(dialled(parse_host(address), None))) as other:
        _move(client, other, name, quiet=quiet)


def pull_from(client: EngineClient, name: str, address: str, *, quiet: bool) -> None:
    """Bring an image from the engine at ``address``."""
    with closing(EngineClient(dialled(parse_host(address), None))) as other:
        _move(other, client, name, quiet=quiet)


def _move(source: EngineClient, target: EngineClient, name: str, *, quiet: bool) -> None:
    sizes = _layer_sizes(source, name)
    there = _present(target, list(sizes))
    if not quiet:
        sent = [size for digest, size in sizes.items() if digest not in there]
        sys.stdout.write(
            f"{len(sent)} of {len(sizes)} layers to send,"
            f" {format_size(sum(sent))} of {format_size(sum(sizes.values()))}\n"
        )
    archive = source.get("/images/get", {"names": [name], "without": there}).chunks()
    answer = target.request(
        "POST",
        "/images/load",
        {"quiet": "1"},
        body=archive,
        content_type="application/x-tar",
    )
    show_progress(answer.messages(), sys.stdout)


def _layer_sizes(source: EngineClient, name: str) -> dict[str, int]:
    """Return the size of each layer of an image; none where the engine cannot tell."""
    try:
        layers = source.get(f"/images/{percent_encode(name, keep='/:@')}/layers").objects()
    except NotFoundError:
        # Either there is no such image, or no such question.
        source.get(f"/images/{percent_encode(name, keep='/:@')}/json").read()
        return {}
    return {str(layer["Digest"]): _number(layer["Size"]) for layer in layers}


def _present(target: EngineClient, digests: list[str]) -> list[str]:
    """Return which layers the engine has; none where it cannot tell."""
    document: Json = {"Digests": list[Json](digests)}
    try:
        answer = target.post("/images/layers/missing", document=document).object()
    except NotFoundError:
        return []
    missing = answer["Digests"]
    absent = set(missing) if isinstance(missing, list) else set(digests)
    return [digest for digest in digests if digest not in absent]


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
