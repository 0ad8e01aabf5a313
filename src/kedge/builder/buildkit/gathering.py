"""From a client's options and its session to a build request: every file that is needed fetched.

Runs in the build's thread. Folders of the client are kept, by the key the client gives them, so
that a later build transfers what changed; two builds of one folder at a time each get their own.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from kedge.api.buildattests import make_attests
from kedge.builder.buildkit.filesync import Wanted, receive_folder
from kedge.builder.buildkit.lending import SessionAgents, SessionSecrets
from kedge.builder.buildkit.options import SESSION_URL, FrontendOptions
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.stores import layout_archive
from kedge.builder.buildkit.uploads import receive_upload
from kedge.builder.clientfolders import ClientFolders
from kedge.builder.contexts import NamedContext, TreeContext, parse_context
from kedge.builder.files.followed import FollowedTree
from kedge.builder.files.tar import try_read_archive
from kedge.builder.files.tree import Tree
from kedge.builder.request import BuildRequest
from kedge.builder.run_mounts import Lent
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import host_platform

_LOCAL: Final = "local:"
_INPUT: Final = "input:"
_LAYOUT: Final = "oci-layout://"
_IGNORE: Final = ".dockerignore"


class OpenFolder(Protocol):
    """Makes a tree of a folder of the host; the tree is a context manager that closes it."""

    def __call__(self, path: str, /) -> "ClosableTree":
        """Return the tree."""
        ...


class ClosableTree(Tree, Protocol):
    """A tree that holds descriptors."""

    def close(self) -> None:
        """Give them up."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What gathering works with."""

    folders: ClientFolders
    open_folder: OpenFolder
    private: str
    """Where sockets of agents go."""
    find_result: Callable[[str, ExitStack], NamedContext]
    """Returns the result of another build by its reference, kept until the stack closes."""
    load_layout: Callable[[str, BinaryIO, ExitStack], NamedContext]
    """Takes the archive of an OCI layout, for the named context of a name."""
    find_session: Callable[[str], Session]
    """Returns the session of an id, the build's own for none."""


@contextmanager
def gather(
    options: FrontendOptions, session: Session, means: Means, check: Callable[[], None]
) -> Generator[BuildRequest, None, None]:
    """Yield the request; what it holds is closed afterwards.

    Raises:
        UnavailableError: The client has gone, or failed to send its files.
    """
    with ExitStack() as stack:
        gathering = _Gathering(options, session, means, check, stack)
        yield gathering.request()


class _Gathering:
    def __init__(
        self,
        options: FrontendOptions,
        session: Session,
        means: Means,
        check: Callable[[], None],
        stack: ExitStack,
    ) -> None:
        self._options = options
        self._session = session
        self._means = means
        self._check = check
        self._stack = stack

    def request(self) -> BuildRequest:
        options = self._options
        agents = SessionAgents(self._session, self._means.private, self._check)
        self._stack.callback(agents.close)
        context, remote, text = self._context()
        ignore = None
        if options.dockerfile_name and text is None:
            text, ignore = self._dockerfile()
        if context is None and not remote:
            context, ignore = self._folder_context(ignore)
        platforms = options.platforms
        return BuildRequest(
            context=context,
            remote=remote,
            contexts={name: self._named(name, value) for name, value in options.contexts.items()},
            dockerfile=options.filename,
            dockerfile_text=text,
            ignore_text=ignore,
            build_args=options.build_args,
            target=options.target,
            labels=options.labels,
            no_cache=options.no_cache,
            no_cache_stages=options.no_cache_stages,
            limits=options.limits,
            pull=options.pull,
            platform=platforms[0] if platforms else None,
            more_platforms=tuple(platforms[1:]),
            network_mode=options.network_mode,
            extra_hosts=options.extra_hosts,
            attests=make_attests(options.attests),
            cache_from=options.cache_from,
            lent=Lent(secrets=SessionSecrets(self._session, self._check), agents=agents),
        )

    def _context(self) -> tuple[Tree | None, str, str | None]:
        """Return a context that is no folder: its files, its URL, a lone Dockerfile."""
        url = self._options.context
        if not url.startswith(SESSION_URL):
            return None, url, None
        file = self._stack.enter_context(
            tempfile.TemporaryFile(dir=self._means.folders.root)  # noqa: SIM115 - closed by the stack
        )
        receiving = receive_upload(self._session, url, file)
        self._session.wait(receiving, self._check)
        file.seek(0)
        archive = try_read_archive(file, scratch=self._means.folders.root, name=url, owned=False)
        if archive is not None:
            return self._stack.enter_context(archive), "", None
        file.seek(0)
        return None, "", file.read().decode(errors="surrogateescape")

    def _dockerfile(self) -> tuple[str, str | None]:
        """Return the Dockerfile of the client's folder, and the ignore file that goes with it."""
        name = self._options.filename
        own = f"{name}{_IGNORE}"
        wanted = Wanted(name=self._options.dockerfile_name, include=(name, own, name.lower()))
        with self._means.folders.folder("") as path:
            self._receive(wanted, path)
            text = _read(path, name)
            if text is None:
                text = _read(path, name.lower())
            if text is None:
                raise InvalidParameterError(
                    f"failed to read dockerfile: open {name}: no such file or directory"
                )
            return text, _read(path, own)

    def _folder_context(self, ignore: str | None) -> tuple[Tree, str | None]:
        name = self._options.context_name
        if ignore is None:
            wanted = Wanted(name=name, include=(_IGNORE,))
            with self._means.folders.folder("") as path:
                self._receive(wanted, path)
                ignore = _read(path, _IGNORE)
        patterns = tuple(line.strip() for line in (ignore or "").splitlines())
        exclude = tuple(each for each in patterns if each and not each.startswith("#"))
        return self._followed(Wanted(name=name, exclude=exclude)), ignore or ""

    def _followed(self, wanted: Wanted) -> Tree:
        """Return the client's folder, which comes as steps ask for it."""
        tree: tuple[str, Tree] | None = None

        def receive(paths: tuple[str, ...]) -> Tree:
            nonlocal tree
            asked = dataclasses.replace(wanted, follow=paths)
            if tree is None:
                # What another Dockerfile needs of the same folder would be removed in between.
                key = self._key(wanted, "\0".join(("files", *paths)))
                path = self._stack.enter_context(self._means.folders.folder(key))
                self._receive(asked, path)
                tree = path, self._opened(path)
            else:
                self._receive(asked, tree[0])
            return tree[1]

        return FollowedTree(receive)

    def _folder(self, wanted: Wanted) -> Tree:
        path = self._stack.enter_context(self._means.folders.folder(self._key(wanted, "files")))
        self._receive(wanted, path)
        return self._opened(path)

    def _opened(self, path: str) -> Tree:
        tree = self._means.open_folder(path)
        self._stack.callback(tree.close)
        return tree

    def _receive(self, wanted: Wanted, path: str) -> None:
        # Targets that are built together may share a folder, which one session of theirs lends.
        session = self._means.find_session(self._options.folder_sessions.get(wanted.name, ""))
        session.wait(receive_folder(session, wanted, path), self._check)

    def _key(self, wanted: Wanted, use: str) -> str:
        shared = self._session.shared_key
        return "\0".join((shared, wanted.name, use)) if shared else ""

    def _named(self, name: str, value: str) -> NamedContext:
        if value.startswith(_LOCAL):
            wanted = Wanted(name=value.removeprefix(_LOCAL))
            return TreeContext(open=lambda: self._folder(wanted))
        if value.startswith(_INPUT):
            return self._means.find_result(value.removeprefix(_INPUT), self._stack)
        if value.startswith(_LAYOUT):
            return self._layout(name, value.removeprefix(_LAYOUT))
        return parse_context(name, value)

    def _layout(self, name: str, place: str) -> NamedContext:
        platforms = self._options.platforms
        archive = layout_archive(
            self._session,
            place,
            platforms[0] if platforms else host_platform(),
            scratch=self._means.folders.root,
            check=self._check,
        )
        with archive as file:
            return self._means.load_layout(name, file, self._stack)


def _read(folder: str, name: str) -> str | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with open(os.open(os.path.join(folder, name), flags), "rb") as file:
            return file.read().decode(errors="surrogateescape")
    except OSError:
        return None
