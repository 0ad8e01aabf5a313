"""``kedge context import``: a context from a tar or zip file that ``export`` wrote."""

import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contexts import Context, check_name, context_exists, store_context
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.errdefs import ConflictError, InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject

_SIZE_MAX: Final = 10 << 20
_TLS: Final = "tls/docker/"


def _run(options: Options, _client: EngineClient) -> int:
    name, path = options.words
    check_name(name)
    if context_exists(name):
        raise ConflictError(f'context "{name}" already exists')
    if path == "-":
        data = sys.stdin.buffer.read(_SIZE_MAX + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(_SIZE_MAX + 1)
    document, tls = read_archive(data)
    document["Name"] = name
    store_context(Context(name, document), tls)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f'Successfully imported context "{name}"\n')
    return OK


def read_archive(data: bytes) -> tuple[JsonObject, dict[str, bytes]]:
    """Return the ``meta.json`` and the key material of an exported context.

    Raises:
        InvalidParameterError: It is none: too large, damaged, or with other files in it.
    """
    if len(data) > _SIZE_MAX:
        raise InvalidParameterError(f"the file is larger than {_SIZE_MAX >> 20} MiB")
    document: JsonObject | None = None
    tls: dict[str, bytes] = {}
    try:
        for name, content in _zipped(data) if data[:2] == b"PK" else _tarred(data):
            if name == "meta.json":
                parsed: Json = json.loads(content)
                document = parsed if isinstance(parsed, dict) else None
            elif name.startswith(_TLS) and "/" not in name.removeprefix(_TLS):
                tls[name.removeprefix(_TLS)] = content
            else:
                raise InvalidParameterError(f"unexpected context file: {name}")
    except (tarfile.TarError, zipfile.BadZipFile, ValueError) as error:
        raise InvalidParameterError(f"invalid context: {error}") from None
    if document is None:
        raise InvalidParameterError("invalid context: no metadata found")
    return document, tls


def _tarred(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read(_SIZE_MAX)


def _zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.file_size > _SIZE_MAX:
                raise InvalidParameterError(f"{member.filename} is larger than the limit")
            yield member.filename, archive.read(member)


COMMAND: Final = Command(
    usage="CONTEXT FILE|-",
    summary="Read a context from a file that context export wrote",
    flags=(),
    run=_run,
    examples=(("kedge context import lab lab.dockercontext", "Under the name lab"),),
    at_least=2,
    at_most=2,
    needs_engine=False,
    needs_host=False,
    complete="file",
)
