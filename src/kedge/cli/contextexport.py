"""``kedge context export``: a context as a tar archive, keys included."""

import io
import os
import sys
import tarfile
from typing import Final

from kedge.cli.command import Command
from kedge.cli.contexts import DEFAULT, load_context, load_tls
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options
from kedge.cli.listing import to_json
from kedge.client.http import EngineClient
from kedge.errdefs import ConflictError, InvalidParameterError


def _run(options: Options, _client: EngineClient) -> int:
    name = options.words[0]
    if name == DEFAULT:
        raise InvalidParameterError('context "default": cannot export the default context')
    data = archive_of(name)
    target = options.words[1] if len(options.words) > 1 else f"{name}.dockercontext"
    if target == "-":
        if sys.stdout.isatty():
            raise InvalidParameterError(
                "cowardly refusing to export to a terminal, specify a file path"
            )
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return OK
    try:
        # It holds keys.
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise ConflictError(f"open {target}: file exists: name another file") from None
    sys.stderr.write(f'Written file "{target}"\n')
    return OK


def archive_of(name: str) -> bytes:
    """Return the tar of a context: ``meta.json`` and ``tls/docker/*``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "meta.json", to_json(load_context(name).document).encode())
        tls = load_tls(name)
        if tls:
            _add_folder(archive, "tls")
            _add_folder(archive, "tls/docker")
        for file_name, content in tls.items():
            _add(archive, f"tls/docker/{file_name}", content)
    return buffer.getvalue()


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o700
    archive.addfile(member)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600 if name != "meta.json" else 0o644
    archive.addfile(member, io.BytesIO(content))


COMMAND: Final = Command(
    usage="CONTEXT [FILE|-]",
    summary="Write a context with its keys to a file, CONTEXT.dockercontext without a name",
    flags=(),
    run=_run,
    examples=(("kedge context export lab", "To lab.dockercontext"),),
    at_least=1,
    at_most=2,
    needs_engine=False,
    needs_host=False,
    complete="context",
)
