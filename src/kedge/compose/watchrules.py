"""What ``develop.watch`` asks for, and which files have changed since the last look.

Files are looked at again and again instead of being told of by the kernel: that sees the same on
every file system, and a client needs no watches the kernel limits the number of.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from kedge.compose.application import Application
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.fields import flag, items, mapping, objects, text
from kedge.lib.ignorefile import IgnoreMatcher, parse_ignore_file
from kedge.lib.jsontypes import JsonObject

_NEVER: Final = ("**/.git", "**/*~", "**/.*.sw?", "**/.*.sw??", "**/4913", "**/.#*", "**/.DS_Store")
"""What version control and editors leave beside files while they are at work."""


class Action(StrEnum):
    """What is done when files change."""

    SYNC = "sync"
    REBUILD = "rebuild"
    RESTART = "restart"
    SYNC_RESTART = "sync+restart"
    SYNC_EXEC = "sync+exec"


class Rule(NamedTuple):
    """One entry of a service's ``develop.watch``."""

    service: str
    path: str
    """A file or folder of this host, absolute."""
    action: Action
    target: str
    """Where it is in the container."""
    ignore: tuple[tuple[str, IgnoreMatcher], ...]
    """Patterns, each with the folder they are relative to."""
    include: IgnoreMatcher | None
    hook: JsonObject
    initial_sync: bool

    def wants(self, path: str) -> bool:
        """Whether a file or folder counts."""
        return not any(
            matcher.matches(os.path.relpath(path, base)) for base, matcher in self.ignore
        )

    def wants_file(self, path: str) -> bool:
        """Whether a file counts that `wants` lets pass."""
        return self.include is None or self.include.matches(os.path.relpath(path, self.path))

    def target_of(self, path: str) -> str:
        """Return where a file is in the container."""
        relative = os.path.relpath(path, self.path)
        return self.target if relative == "." else os.path.join(self.target, relative)


Snapshot = Mapping[str, tuple[int, int, int, int]]
"""Files by path: time, size, mode and inode; each tells of a change."""


class Change(NamedTuple):
    """Files that are new or other, and files that have gone."""

    written: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.written or self.removed)


def rules_of(app: Application, services: list[str]) -> list[Rule]:
    """Return what is watched for services.

    Raises:
        NotFoundError: Nothing is.
        InvalidParameterError: A rule cannot be followed.
    """
    found = [
        _rule(app, name, entry)
        for name in services
        for entry in objects(app.service(name), "develop", "watch")
    ]
    if not found:
        raise NotFoundError(
            "none of the selected services is configured for watch: "
            "give one a 'develop' section with 'watch'"
        )
    return found


def _rule(app: Application, name: str, entry: JsonObject) -> Rule:
    service = app.service(name)
    build = mapping(service, "build")
    path = os.path.join(app.directory or ".", text(entry, "path"))
    action = Action(text(entry, "action"))
    if action is Action.REBUILD and not build:
        raise InvalidParameterError(
            f"service {name}: cannot rebuild it when {path} changes: it has no 'build'"
        )
    context = text(build, "context")
    ignore = [(path, IgnoreMatcher((*_NEVER, *_texts(entry, "ignore"))))]
    if context and os.path.isdir(context):
        ignore.append((context, _ignore_file(os.path.join(context, ".dockerignore"))))
    include = _texts(entry, "include")
    return Rule(
        name,
        os.path.abspath(path),
        action,
        text(entry, "target"),
        tuple(ignore),
        IgnoreMatcher(include) if include else None,
        mapping(entry, "exec"),
        flag(entry, "initial_sync"),
    )


def _texts(entry: JsonObject, name: str) -> list[str]:
    one = entry.get(name)
    return [one] if isinstance(one, str) else [str(found) for found in items(entry, name)]


def _ignore_file(path: str) -> IgnoreMatcher:
    try:
        with open(path, encoding="utf-8") as file:
            return IgnoreMatcher(parse_ignore_file(file.read()))
    except FileNotFoundError:
        return IgnoreMatcher(())


def look(rule: Rule) -> Snapshot:
    """Return the files of a rule as they are now; none where its path is not there."""
    return dict(_files(rule, rule.path))


def _files(rule: Rule, path: str) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            if rule.wants_file(path):
                yield path, (status.st_mtime_ns, status.st_size, status.st_mode, status.st_ino)
            return
        names = sorted(os.listdir(path))
    except OSError:
        # It went while it was looked at, or is nobody's business: a later look tells.
        return
    for name in names:
        below = os.path.join(path, name)
        if rule.wants(below) and not _is_loop(below):
            yield from _files(rule, below)


def _is_loop(path: str) -> bool:
    """Whether a path is a link to a folder, which is not followed."""
    return os.path.islink(path) and os.path.isdir(path)


def compare(before: Snapshot, now: Snapshot) -> Change:
    """Return what is different."""
    return Change(
        tuple(path for path in now if before.get(path) != now[path]),
        tuple(path for path in before if path not in now),
    )
