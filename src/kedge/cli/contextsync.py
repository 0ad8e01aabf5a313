"""A build context of which the engine knows most already: a list first, then what it lacks.

An engine that does not know the question, dockerd for one, gets the whole context.
"""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from kedge.cli.buildcontext import Context, ignore_file_of, list_folder
from kedge.cli.contexttar import ARCHIVE_END, entry_bytes
from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError
from kedge.lib.fields import items, text

_KINDS: Final = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p"}
_Listed: TypeAlias = list[str | int]
"""A file as the engine compares it; see ``Listed`` in the engine's `builder.files.kept`."""


def synchronized(client: EngineClient, context: Context) -> tuple[Context, dict[str, str]]:
    """Return the context with a body of what the engine lacks, and what its query says of that."""
    if not context.folder:
        return context, {}
    dockerfile = os.path.join(context.folder, context.dockerfile)
    ignore_file = ignore_file_of(context.folder, dockerfile)
    seen: list[tuple[str, os.stat_result]] = []
    listed: list[_Listed] = []
    for each in list_folder(context.folder, context.dockerfile, ignore_file):
        entry = _listed(context.folder, *each)
        if entry:
            seen.append(each)
            listed.append(entry)
    try:
        answer = client.request(
            "POST", "/build/contexts", {"key": _key(context)},
            body=json.dumps(listed, separators=(",", ":"), check_circular=False).encode(),
            content_type="application/json",
        ).object()  # fmt: skip
    except KedgeError:
        return context, {}
    needed = [seen[int(str(number))] for number in items(answer, "Needed")]
    body = _needed(context.folder, needed)
    return context._replace(body=body), {"contexttoken": text(answer, "Token")}


def _listed(folder: str, path: str, status: os.stat_result) -> _Listed:
    """Return a file as the engine compares it; nothing for one that has no place in a context."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "")
    if not kind:
        return []
    mode, mtime_ns = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    if kind == "f":
        stamp = f"{status.st_dev:x}.{status.st_ino:x}.{status.st_ctime_ns:x}"
        return [path, kind, mode, mtime_ns, status.st_size, stamp]
    if kind == "l":
        return [path, kind, mode, mtime_ns, 0, "", os.readlink(os.path.join(folder, path))]
    return [path, kind, mode, mtime_ns]


def _key(context: Context) -> str:
    status = os.stat(context.folder)
    whole = f"{os.uname().nodename} {os.path.realpath(context.folder)} {status.st_ino}"
    # A name that is no UTF-8 has no place in a query.
    return whole.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _needed(folder: str, files: Sequence[tuple[str, os.stat_result]]) -> Iterator[bytes]:
    for path, status in files:
        yield from entry_bytes(folder, path, status)
    yield ARCHIVE_END
