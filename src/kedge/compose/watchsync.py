"""Changed files taken over into running containers."""

import os
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Final

from kedge.client.http import EngineClient
from kedge.compose.hooks import run_hooks
from kedge.compose.observed import Container
from kedge.compose.watchrules import Change, Rule
from kedge.errdefs import InvalidParameterError

if TYPE_CHECKING:
    from kedge.lib.jsontypes import JsonObject

_CHUNK: Final = 1 << 18


def sync(client: EngineClient, containers: list[Container], rule: Rule, change: Change) -> None:
    """Make files of containers what they are on this host.

    Raises:
        KedgeError: The engine refuses, or a file that has gone cannot be removed in a container.
    """
    if change.written:
        with tempfile.TemporaryFile() as archive:
            _pack(archive, rule, change.written)
            for one in containers:
                archive.seek(0)
                client.request(
                    "PUT",
                    f"/containers/{one.id}/archive",
                    {"path": "/"},
                    body=_chunks(archive),
                    content_type="application/x-tar",
                ).read()
    if change.removed:
        gone = [rule.target_of(path) for path in change.removed]
        remove: JsonObject = {"command": ["rm", "-rf", "--", *gone], "user": "0"}
        for one in containers:
            run_hooks(client, one.id, rule.service, "watch", [remove])


def _pack(archive: IO[bytes], rule: Rule, paths: tuple[str, ...]) -> None:
    # Old dates or owners of this host mean nothing in there.
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            try:
                with open(path, "rb") as file:
                    info = tarfile.TarInfo(rule.target_of(path).lstrip("/"))
                    status = os.fstat(file.fileno())
                    info.size, info.mode = status.st_size, status.st_mode & 0o7777
                    info.mtime = int(status.st_mtime)
                    tar.addfile(info, file)
            except FileNotFoundError:
                # It has gone again: the next look removes it.
                continue
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise InvalidParameterError(f"cannot read {path}: {why}") from None


def _chunks(archive: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: archive.read(_CHUNK), b"")
