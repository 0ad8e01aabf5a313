"""Where the files of one build come from: its context, named contexts, what it fetches.

The Dockerfile and ignore files are read here too, because they stand in the same places. Contexts
that are files are opened when a step first asks for them.
"""

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from kedge.archive.entry import Kind
from kedge.builder.contexts import (
    ImageContext,
    NamedContext,
    RemoteContext,
    ResultContext,
    TreeContext,
)
from kedge.builder.files.followed import EVERYTHING, follow
from kedge.builder.files.ignored import IGNORE_FILE, IgnoredTree
from kedge.builder.files.tar import try_read_archive
from kedge.builder.files.tree import Tree, clip, join, read_text
from kedge.builder.remote.downloads import DownloadedFile, shown_url
from kedge.builder.remote.fetching import CONTEXT_FILE, Fetching
from kedge.builder.remote.repositories import Repository
from kedge.builder.request import BuildRequest
from kedge.errdefs import InvalidParameterError
from kedge.lib.ignorefile import IgnoreMatcher, parse_ignore_file

_BUILD_CONTEXT: Final = "context"
_MOST_DOCKERFILE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a build starts with."""

    dockerfile: str
    """The text of the Dockerfile."""
    context: Tree | None
    """What COPY sees: the context without what its ignore file names."""
    whole: Tree | None
    """The context with everything in it."""

    @property
    def ignored(self) -> IgnoreMatcher | None:
        """What the ignore file leaves out."""
        return self.context.matcher if isinstance(self.context, IgnoredTree) else None


class Sources:
    """The places files of one build come from; thread-safe. A context manager that closes them."""

    def __init__(self, request: BuildRequest, fetching: Fetching, scratch: str) -> None:
        """Open nothing yet; archives that are fetched are unpacked to ``scratch``."""
        self._request = request
        self._fetching = fetching
        self._scratch = scratch
        self._open = ExitStack()
        self._lock = threading.RLock()
        self._trees: dict[str, Tree] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def named(self, name: str) -> NamedContext:
        """Return the named context ``name``."""
        return self._request.contexts[name]

    def tree(self, name: str) -> Tree | None:
        """Return the files of a named context; None for one that is an image."""
        with self._lock:
            found = self._trees.get(name)
            if found is not None:
                return found
            match self.named(name):
                case ImageContext() | ResultContext():
                    return None
                case TreeContext(open=opener):
                    self._trees[name] = without_ignored(opener(), (IGNORE_FILE,))
                case RemoteContext(url=url):
                    self._trees[name] = self._fetched(url)
            return self._trees[name]

    def read_input(self) -> Input:
        """Return the Dockerfile and the context, fetched where they are elsewhere.

        Raises:
            InvalidParameterError: There is no Dockerfile, or it is too large.
            NotFoundError: What is fetched is not there.
        """
        request = self._request
        text = request.dockerfile_text
        whole = request.context
        if request.remote:
            fetched = self._fetched(request.remote)
            lone = isinstance(fetched, DownloadedFile)
            if lone and text is None:
                text = _dockerfile_text(fetched, CONTEXT_FILE, shown_url(request.remote))
            whole = None if lone else fetched
        path = clip(request.dockerfile)
        if text is None:
            text = _dockerfile_text(whole, path, request.dockerfile)
        context = None
        if whole is not None and request.ignore_text is not None:
            context = _ignored(whole, IGNORE_FILE, request.ignore_text)
        elif whole is not None:
            context = without_ignored(whole, (f"{path}{IGNORE_FILE}", IGNORE_FILE))
        return Input(dockerfile=text, context=context, whole=whole)

    def newest_ns(self, name: str, given: Input) -> int | None:
        """Return when the files of a context last changed; None where no files have that name.

        Args:
            name: ``context`` for the build context, or a named one.
            given: What `read_input` returned.
        """
        request = self._request
        if name != _BUILD_CONTEXT and name not in request.contexts:
            return None
        if name == _BUILD_CONTEXT:
            url, files = request.remote, given.context
        else:
            named = self.named(name)
            url = named.url if isinstance(named, RemoteContext) else ""
            files = self.tree(name)
        remote = self._fetching.context(url) if url else None
        if isinstance(remote, Repository):
            return remote.committed_ns()
        if isinstance(remote, DownloadedFile) and files is None:
            files = remote
        if files is None:
            return None
        follow(files, (EVERYTHING,))
        return newest_ns(files)

    def _fetched(self, url: str) -> Tree:
        remote = self._fetching.context(url)
        if not isinstance(remote, DownloadedFile):
            return remote.tree()
        with remote.open(CONTEXT_FILE) as stream:
            archive = try_read_archive(stream, scratch=self._scratch, name=url, owned=False)
        if archive is None:
            return remote
        return self._open.enter_context(archive)


def newest_ns(tree: Tree, path: str = "") -> int | None:
    """Return the time of the newest file below ``path``; None where there is none."""
    newest: int | None = None
    for name in tree.names(path):
        child = join(path, name)
        entry = tree.entry(child)
        if entry is None:
            continue
        below = newest_ns(tree, child) if entry.kind is Kind.DIRECTORY else entry.mtime_ns
        if below is not None and (newest is None or below > newest):
            newest = below
    return newest


def _dockerfile_text(context: Tree | None, path: str, shown: str) -> str:
    found = context.entry(path) if context is not None else None
    if found is not None and found.size > _MOST_DOCKERFILE_BYTES:
        raise InvalidParameterError(
            f"{shown}: a Dockerfile of {found.size} bytes is too large: the most is "
            f"{_MOST_DOCKERFILE_BYTES}"
        )
    text = read_text(context, path) if context is not None else None
    if text is None:
        raise InvalidParameterError(f"Cannot locate specified Dockerfile: {shown}")
    return text


def without_ignored(context: Tree, candidates: tuple[str, ...]) -> Tree:
    """Return ``context`` without what the first of the ignore files ``candidates`` names.

    Raises:
        InvalidParameterError: The ignore file is malformed.
    """
    for candidate in candidates:
        text = read_text(context, candidate)
        if text is not None:
            return _ignored(context, candidate, text)
    return context


def _ignored(context: Tree, name: str, text: str) -> Tree:
    try:
        return IgnoredTree(context, IgnoreMatcher(parse_ignore_file(text)))
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{name}: {error}") from error
