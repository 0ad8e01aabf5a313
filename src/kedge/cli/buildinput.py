"""What ``kedge build`` builds: a folder, a URL, a Dockerfile or an archive on standard input.

A URL is fetched by the engine. Named contexts that are folders go along in the same archive.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from kedge.cli.buildcontext import (
    Context,
    NamedFolder,
    check_folder,
    named_contexts,
    open_folder,
    single_file,
    stream_folder,
    stream_named,
)
from kedge.cli.flags import UsageError
from kedge.errdefs import InvalidParameterError

_STDIN_DOCKERFILE: Final = ".kedge-stdin.Dockerfile"
_TAR_MAGIC: Final = b"ustar"
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_URLS: Final = ("http://", "https://", "git://", "ssh://", "git@")


def open_context(where: str, file: str, named: Sequence[str]) -> Context:
    """Return what the words of a build mean.

    Args:
        where: A folder, a URL or ``-``.
        file: The Dockerfile; empty for the usual one, ``-`` for standard input.
        named: The values of ``--build-context``.

    Raises:
        UsageError: They contradict each other.
        KedgeError: A file or folder is missing; it is named.
    """
    told, folders = named_contexts(named)
    if where == "-":
        if file == "-":
            raise UsageError(
                "invalid argument: can't use stdin for both build context and dockerfile"
            )
        return _from_stdin(file, told, folders)
    if _is_url(where):
        if file == "-":
            raise UsageError("-f - needs a folder as context: a URL has its own Dockerfile")
        return Context(stream_named(folders), file or "Dockerfile", where, told)
    check_folder(where)
    if file == "-":
        extra = {_STDIN_DOCKERFILE: sys.stdin.buffer.read()}
        body = stream_folder(where, dockerfile=_STDIN_DOCKERFILE, extra=extra, named=folders)
        return Context(body, _STDIN_DOCKERFILE, "", told)
    return open_folder(where, file, folders)._replace(named=told)


def _is_url(where: str) -> bool:
    is_github = where.startswith("github.com/") and not os.path.exists(where)
    return where.startswith(_URLS) or is_github


def _from_stdin(file: str, told: dict[str, str], folders: Sequence[NamedFolder]) -> Context:
    """Standard input is a tar, compressed or not, or else a Dockerfile."""
    stream = sys.stdin.buffer
    head = stream.read(512)
    if head[257:262] == _TAR_MAGIC or head.startswith(_COMPRESSED):
        if folders:
            raise UsageError("--build-context with a folder needs a folder as context, not a tar")
        rest = iter(lambda: stream.read(1 << 18), b"")
        pieces = (piece for part in ((head,), rest) for piece in part)
        return Context(pieces, file or "Dockerfile", "", told)
    content = head + stream.read()
    if not content.strip():
        raise InvalidParameterError("standard input is empty: want a Dockerfile or a tar archive")
    body = single_file("Dockerfile", content, folders)
    return Context(body, "Dockerfile", "", told)
