"""The build context as a tar stream: what ``.dockerignore`` leaves of a folder, piece by piece.

The Dockerfile and ``.dockerignore`` always go along, as the engine reads both; it keeps ignored
ones out of COPY itself. Owners are root's, so that a build does not depend on who starts it.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from kedge.cli.contexttar import (
    ARCHIVE_END,
    entry_bytes,
    file_bytes,
    spooled_header,
    unreadable,
)
from kedge.cli.flags import UsageError
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.ignorefile import IgnoreMatcher, MatchState, parse_ignore_file

_CHUNK: Final = 1 << 18
_BLOCK: Final = 512
_OUTSIDE_DOCKERFILE: Final = ".kedge-outside.Dockerfile"
_NAMED: Final = ".kedge-context-"
_IGNORE_FILE: Final = ".dockerignore"


class NamedFolder(NamedTuple):
    """A folder of this machine that stands for a name in the Dockerfile."""

    folder: str
    place: str
    """Where it is in the archive."""
    is_layout: bool
    """An OCI layout, sent as one file."""


class Context(NamedTuple):
    """What is sent, and where the Dockerfile is in it."""

    body: Iterable[bytes]
    dockerfile: str
    remote: str = ""
    """The engine fetches the context from here; empty when it is sent."""
    named: Mapping[str, str] = MappingProxyType({})
    """What the engine is told of the named contexts."""
    folder: str = ""
    """The folder that is the whole body, of which an engine may know most already."""


def open_folder(where: str, file: str, named: Sequence[NamedFolder] = ()) -> Context:
    """Return the context of a folder; its Dockerfile may be elsewhere.

    Raises:
        NotFoundError: There is no Dockerfile.
    """
    path = os.path.abspath(file) if file else os.path.join(os.path.abspath(where), "Dockerfile")
    if not os.path.isfile(path):
        hint = "name another with -f" if not file else "check the path after -f"
        raise NotFoundError(f"no Dockerfile at {path}: {hint}")
    name = os.path.relpath(os.path.realpath(path), os.path.realpath(where))
    extra: dict[str, bytes] = {}
    if name.startswith(".."):
        name, extra = _OUTSIDE_DOCKERFILE, {_OUTSIDE_DOCKERFILE: _content(path)}
        if os.path.isfile(path + _IGNORE_FILE):
            extra[name + _IGNORE_FILE] = _content(path + _IGNORE_FILE)
    ignore_file = ignore_file_of(where, path)
    body = stream_folder(where, dockerfile=name, extra=extra, named=named, ignore_file=ignore_file)
    return Context(body, name, folder="" if extra or named else where)


def _content(path: str) -> bytes:
    with open(path, "rb") as opened:
        return opened.read()


def ignore_file_of(folder: str, dockerfile: str) -> str:
    """Return the path of the ignore file that counts: the one of the Dockerfile, or the folder's.

    Args:
        folder: The context.
        dockerfile: Path of the Dockerfile, in it or not.
    """
    own = f"{dockerfile}{_IGNORE_FILE}"
    return own if os.path.isfile(own) else os.path.join(folder, _IGNORE_FILE)


def named_contexts(given: Sequence[str]) -> tuple[dict[str, str], list[NamedFolder]]:
    """Return what the engine is told of each ``NAME=PLACE``, and the folders to send.

    Raises:
        UsageError: One has no name or no place.
        NotFoundError: A folder does not exist.
    """
    told: dict[str, str] = {}
    folders: list[NamedFolder] = []
    for text in given:
        name, _, place = text.partition("=")
        if not name or not place:
            raise UsageError(f"invalid --build-context {text}: want NAME=PATH, NAME=IMAGE or a URL")
        if place.startswith(("docker-image://", "http://", "https://", "git://", "ssh://", "git@")):
            told[name] = place
            continue
        is_layout = place.startswith("oci-layout://")
        folder = place.removeprefix("oci-layout://")
        check_folder(folder)
        where = f"{_NAMED}{len(folders)}"
        told[name] = f"layout:{where}" if is_layout else f"body:{where}"
        folders.append(NamedFolder(folder, where, is_layout))
    return told, folders


def stream_folder(
    folder: str,
    *,
    dockerfile: str,
    extra: dict[str, bytes],
    named: Sequence[NamedFolder] = (),
    ignore_file: str = "",
) -> Iterator[bytes]:
    """Yield the tar of ``folder``, and of the named contexts below it.

    Args:
        folder: The context.
        dockerfile: Path of the Dockerfile in the context, which is never left out.
        extra: Files that are added at its end.
        named: Folders that are added at its end.
        ignore_file: Path of the ignore file; the folder's own where it is empty.

    Raises:
        KedgeError: The ignore file is malformed, or a file cannot be read; it is named.
    """
    ignore_file = ignore_file or os.path.join(folder, _IGNORE_FILE)
    for relative, status in list_folder(folder, dockerfile, ignore_file):
        yield from entry_bytes(folder, relative, status)
    for name, content in extra.items():
        yield file_bytes(name, content)
    yield from stream_named(named)


def list_folder(
    folder: str, dockerfile: str, ignore_file: str
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what is sent of a build context; the Dockerfile and ignore files always are."""
    matcher = load_matcher(ignore_file)
    # The engine reads the ignore file as well, so that COPY is told which line is in its way.
    keep = {dockerfile, _IGNORE_FILE, f"{dockerfile}{_IGNORE_FILE}"}
    yield from visible(folder, "", matcher, matcher.root, keep)


def single_file(name: str, content: bytes, named: Sequence[NamedFolder] = ()) -> Iterator[bytes]:
    """Yield the tar of one file, for a build without a context."""
    yield file_bytes(name, content)
    yield from stream_named(named)


def stream_named(named: Sequence[NamedFolder]) -> Iterator[bytes]:
    """Yield the named contexts and the archive's end."""
    for each in named:
        if each.is_layout:
            yield from _archived(each)
            continue
        matcher = load_matcher(os.path.join(each.folder, _IGNORE_FILE))
        root = os.stat(each.folder)
        yield from entry_bytes(each.folder, "", root, each.place)
        keep = {_IGNORE_FILE}
        yield from _walk(each.folder, "", matcher, matcher.root, keep, each.place)
    yield ARCHIVE_END


def _archived(layout: NamedFolder) -> Iterator[bytes]:
    """Yield an OCI layout as one file, which is itself a tar."""
    import tempfile  # noqa: PLC0415 - rarely needed

    nothing = IgnoreMatcher(())
    with tempfile.TemporaryFile() as spool:
        for piece in _walk(layout.folder, "", nothing, nothing.root, set()):
            spool.write(piece)
        spool.write(ARCHIVE_END)
        size = spool.tell()
        spool.seek(0)
        yield spooled_header(layout.place, size)
        while data := spool.read(_CHUNK):
            yield data
        yield bytes(-size % _BLOCK)


def load_matcher(path: str) -> IgnoreMatcher:
    """Return what the ignore file at ``path`` leaves out; nothing where there is none.

    Raises:
        InvalidParameterError: A pattern is malformed.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return IgnoreMatcher(parse_ignore_file(file.read()))
    except FileNotFoundError:
        return IgnoreMatcher(())
    except (InvalidParameterError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"{path}: {error}") from None


def _walk(
    folder: str,
    prefix: str,
    matcher: IgnoreMatcher,
    state: MatchState,
    keep: set[str],
    under: str = "",
) -> Iterator[bytes]:
    for relative, status in visible(folder, prefix, matcher, state, keep):
        yield from entry_bytes(folder, relative, status, under)


def visible(
    folder: str, prefix: str, matcher: IgnoreMatcher, state: MatchState, keep: set[str]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what is sent of a folder, each directory before what is in it."""
    has_patterns = bool(matcher.patterns)
    below = state
    # Not recursive: a generator in a generator costs every file once for each level.
    waiting = [(prefix, state, _entries(folder, prefix))]
    while waiting:
        prefix, state, entries = waiting[-1]
        for each in entries:
            relative = f"{prefix}/{each.name}" if prefix else each.name
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if has_patterns:
                below = matcher.below(state, relative)
            if below.matched and relative not in keep:
                if not (is_folder and (matcher.has_exceptions or _is_above(relative, keep))):
                    continue
            else:
                yield relative, status
            if is_folder:
                waiting.append((relative, below, _entries(folder, relative)))
                break
        else:
            waiting.pop()


def _entries(folder: str, prefix: str) -> Iterator[os.DirEntry[str]]:
    path = os.path.join(folder, prefix) if prefix else folder
    try:
        with os.scandir(path) as opened:
            return iter(sorted(opened, key=_name))
    except OSError as error:
        raise unreadable(path, error) from None


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_above(folder: str, paths: set[str]) -> bool:
    return any(path.startswith(f"{folder}/") for path in paths)


def check_folder(folder: str) -> None:
    """Refuse a context that is no folder.

    Raises:
        NotFoundError: It does not exist.
        InvalidParameterError: It is a file.
    """
    if not os.path.exists(folder):
        raise NotFoundError(f"no such build context: {folder}: name a folder that has a Dockerfile")
    if not os.path.isdir(folder):
        raise InvalidParameterError(
            f"build context {folder} is no folder: did you mean -f {folder} .?"
        )
