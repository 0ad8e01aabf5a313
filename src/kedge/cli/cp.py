"""``kedge cp``: files between a container and this host, with Docker's rules on names.

An archive is what travels. Its first name is the source's, and becomes the destination's where
that does not exist yet or is a file. Rules and texts: docker/cli ``container/cp.go``.
"""

import os
import posixpath
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kedge.cli.command import Command
from kedge.cli.copypaths import (
    LocalSource,
    PathStat,
    base_name,
    parent_of,
    parse_stat,
    placement,
    resolve_source,
)
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.client.http import EngineClient, Query, percent_encode
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.units import format_size

_CHUNK: Final = 1 << 18
_STAT_HEADER: Final = "x-docker-container-path-stat"


class Place(NamedTuple):
    """One side of a copy; ``container`` is empty for this host."""

    container: str
    path: str


def parse_place(text: str) -> Place:
    """Return ``CONTAINER:PATH`` or a path of this host; ``./a:b`` and ``/a:b`` are such paths."""
    if os.path.isabs(text):
        return Place("", text)
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return Place("", text)
    return Place(container, path)


class Wishes(NamedTuple):
    """How files are copied."""

    follow_link: bool = False
    owners: bool = False
    quiet: bool = False


def _run(options: Options, client: EngineClient) -> int:
    source, target = (parse_place(word) for word in options.words)
    check_places(options.words, source, target)
    wishes = Wishes(
        options.on("follow-link"),
        options.on("archive"),
        options.on("quiet") or not sys.stdout.isatty(),
    )
    copy(client, source, target, wishes)
    return OK


def check_places(words: Sequence[str], source: Place, target: Place) -> None:
    """Refuse what is no copy between a container and this host.

    Raises:
        InvalidParameterError: It is none.
    """
    if not words[0]:
        raise InvalidParameterError("source can not be empty")
    if not words[1]:
        raise InvalidParameterError("destination can not be empty")
    if source.container and target.container:
        raise InvalidParameterError("copying between containers is not supported")
    if not source.container and not target.container:
        raise InvalidParameterError("must specify at least one container source")


def copy(client: EngineClient, source: Place, target: Place, wishes: Wishes) -> None:
    """Copy between a container and this host.

    Raises:
        KedgeError: One of the paths does not fit, or is not there.
    """
    progress = _Progress(quiet=wishes.quiet)
    if source.container:
        _copy_from(client, source, target.path, wishes, progress)
    else:
        _copy_to(client, source.path, target, wishes, progress)


def _copy_from(
    client: EngineClient, source: Place, target: str, wishes: Wishes, progress: "_Progress"
) -> None:
    path, new_base = source.path, ""
    if wishes.follow_link:
        stat = _stat(client, source)
        if stat is not None and stat.is_link:
            link = stat.link_target
            new_base = base_name(path) if base_name(path) != base_name(link) else ""
            path = link if posixpath.isabs(link) else posixpath.join(parent_of(path), link)
    response = client.get(_archive(source.container), {"path": path})
    if target == "-":
        if sys.stdout.isatty():
            raise InvalidParameterError(
                "refusing to write an archive to a terminal: redirect standard output"
            )
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    from kedge.cli.copytar import extract  # noqa: PLC0415 - only here

    stat = parse_stat(response.headers.get(_STAT_HEADER, ""))
    wanted = os.path.abspath(target) + (
        "/" if target.endswith(("/", "/.")) or target == "." else ""
    )
    if os.path.islink(wanted.rstrip("/")):
        wanted = os.path.realpath(wanted)
    exists = PathStat(0o40755 if os.path.isdir(wanted) else 0o644, is_dir=os.path.isdir(wanted))
    folder, renamed = placement(
        new_base or base_name(path),
        is_dir=stat.is_dir,
        target=wanted,
        found=exists if os.path.lexists(wanted.rstrip("/") or "/") else None,
    )
    if not os.path.isdir(folder):
        raise NotFoundError(f'invalid output path: directory "{folder}" does not exist')
    extract(
        progress.watch(response.chunks(), "from"),
        folder,
        old_base=base_name(path),
        new_base=renamed,
        owners=wishes.owners,
    )
    progress.finish(target)


def _copy_to(
    client: EngineClient, source: str, target: Place, wishes: Wishes, progress: "_Progress"
) -> None:
    path = target.path
    found = _stat(client, target)
    if found is not None and found.is_link:
        link = found.link_target
        path = link if posixpath.isabs(link) else posixpath.join(parent_of(path), link)
        found = _stat(client, Place(target.container, path))
    if found is not None and found.is_device:
        raise InvalidParameterError(
            f'destination "{target.container}:{path}" must be a directory or a regular file'
        )
    body: Iterable[bytes]
    if source == "-":
        if found is None or not found.is_dir:
            raise InvalidParameterError(
                f'destination "{target.container}:{path}" must be a directory'
            )
        folder, body = path, iter(lambda: sys.stdin.buffer.read(_CHUNK), b"")
    else:
        local: LocalSource = resolve_source(source, follow=wishes.follow_link)
        folder, base = placement(local.base, is_dir=local.is_dir, target=path, found=found)
        from kedge.cli.copytar import stream_tree  # noqa: PLC0415 - only here

        body = stream_tree(local.path, base)
    query: Query = {
        "path": folder,
        "noOverwriteDirNonDir": "true",
        "copyUIDGID": "true" if wishes.owners else "",
    }
    client.request(
        "PUT",
        _archive(target.container),
        query,
        body=progress.watch(body, "to"),
        content_type="application/x-tar",
    ).read()
    progress.finish(f"{target.container}:{path}")


def _archive(container: str) -> str:
    return f"/containers/{percent_encode(container)}/archive"


def _stat(client: EngineClient, place: Place) -> PathStat | None:
    """Return what a path of a container is; None where there is none."""
    try:
        response = client.request("HEAD", _archive(place.container), {"path": place.path})
    except NotFoundError:
        # A HEAD has no text: ask for the container, whose absence is told as such.
        client.get(f"/containers/{percent_encode(place.container)}/json").read()
        return None
    return parse_stat(response.headers.get(_STAT_HEADER, ""))


class _Progress:
    """How much has been copied, on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._copied = 0

    def watch(self, chunks: Iterable[bytes], direction: str) -> Iterator[bytes]:
        """Yield ``chunks`` and count them."""
        shown = 0
        for chunk in chunks:
            self._copied += len(chunk)
            if not self._quiet and self._copied - shown >= 1 << 20:
                shown = self._copied
                size = format_size(shown, digits=3)
                sys.stderr.write(f"\r\033[KCopying {direction} container - {size}")
            yield chunk

    def finish(self, target: str) -> None:
        """Say what went where."""
        if not self._quiet:
            size = format_size(self._copied, digits=3)
            sys.stderr.write(f"\r\033[KSuccessfully copied {size} to {target}\n")


COMMAND: Final = Command(
    usage="[OPTIONS] CONTAINER:PATH PATH|-\n       kedge cp [OPTIONS] PATH|- CONTAINER:PATH",
    summary="Copy files and folders between a container and this host, running or not",
    flags=(
        switch("archive", "Keep owners", short="a"),
        switch("follow-link", "Copy what a symbolic link points to", short="L"),
        switch("quiet", "Do not show progress", short="q"),
    ),
    run=_run,
    examples=(
        ("kedge cp web:/etc/nginx/nginx.conf .", "A file out of a container"),
        ("kedge cp ./site/. web:/usr/share/nginx/html", "What is in a folder into one of it"),
        ("kedge cp web:/var/log - | tar tv", "As a tar archive"),
    ),
    at_least=2,
    at_most=2,
    complete="container",
)
