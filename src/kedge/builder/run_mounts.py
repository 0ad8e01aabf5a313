"""What ``RUN --mount`` shows a command: folders of the host, made ready and taken away again.

A bind is a copy of what it names, so what the command writes there is discarded. Secrets stand in
files of a folder of their own, apart from layers and contexts, for as long as the step runs; their
content is in no key and no history. An agent's socket is the one of whoever asked for the build.
"""

import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final, assert_never

from kedge.archive.entry import Kind
from kedge.builder.cache_mounts import CacheMounts
from kedge.builder.dockerfile.mounts import MountKind, RunMount
from kedge.builder.files.copying import Copier, CopyRules
from kedge.builder.files.destination import Destination
from kedge.builder.files.digests import selection_digest
from kedge.builder.files.followed import follow
from kedge.builder.files.selection import Selected
from kedge.builder.files.tree import MemoryTree, Tree, clip, resolve
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.jsontypes import Json
from kedge.oci.mounts import Mount

FindTree = Callable[[str], Tree]
"""Returns the files that ``from`` names; those of the build context for no name."""

_BIND: Final = ("bind", "nosuid", "nodev")
_SECRET_FOLDER: Final = "/run/secrets"  # noqa: S105 - a path
_AGENT_PATH: Final = "/run/buildkit/ssh_agent"
_DEFAULT_AGENT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What whoever asks for a build lends its steps."""

    secrets: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    agents: Mapping[str, str] = field(default_factory=dict[str, str])
    """Path of an ssh agent's socket by id."""
    namespace: str = ""
    """BUILDKIT_CACHE_MOUNT_NS."""


@dataclass(slots=True, kw_only=True)
class Shown:
    """What one command gets."""

    mounts: list[Mount] = field(default_factory=list[Mount])
    env: list[str] = field(default_factory=list[str])


class RunMounts:
    """Makes the mounts of one build's steps."""

    def __init__(
        self,
        caches: CacheMounts,
        lent: Lent,
        *,
        scratch: str,
        private: str,
        check: Callable[[], None],
    ) -> None:
        """Keep what the mounts of a build share.

        Args:
            caches: The kept folders.
            lent: Secrets and agents.
            scratch: Where copies of binds go.
            private: Where secrets go, preferably no disk.
            check: Raises when the build is cancelled.
        """
        self._caches = caches
        self._lent = lent
        self._scratch = scratch
        self._private = private
        self._check = check

    def inputs(self, mounts: tuple[RunMount, ...], find: FindTree) -> list[Json]:
        """Return the digests of what binds show, for the cache key.

        Raises:
            NotFoundError: A source is missing.
        """
        found: list[Json] = []
        for mount in mounts:
            if mount.kind is MountKind.BIND:
                tree = find(mount.from_)
                follow(tree, (mount.source,))
                digest = selection_digest(tree, _selected(mount, tree), _nothing)
                found.append({"name": mount.target, "digest": digest})
        return found

    @contextmanager
    def open(self, mounts: tuple[RunMount, ...], find: FindTree) -> Generator[Shown, None, None]:
        """Enclose a step and yield what it is shown.

        Raises:
            NotFoundError: A source, a required secret or agent is missing.
        """
        shown = Shown()
        agents = 0
        with ExitStack() as undo:
            for mount in mounts:
                match mount.kind:
                    case MountKind.TMPFS:
                        size = (f"size={mount.size_bytes}",) if mount.size_bytes else ()
                        options = ("nosuid", "nodev", *size)
                        shown.mounts.append(Mount("tmpfs", "tmpfs", options, mount.target))
                    case MountKind.BIND:
                        path = self._copied(mount, find(mount.from_), undo)
                        shown.mounts.append(_bind(path, mount.target, mount.read_only))
                    case MountKind.CACHE:
                        path = self._cache(mount, find, undo)
                        shown.mounts.append(_bind(path, mount.target, mount.read_only))
                    case MountKind.SECRET:
                        self._secret(mount, shown, undo)
                    case MountKind.SSH:
                        self._agent(mount, shown, agents)
                        agents += 1
                    case _:
                        assert_never(mount.kind)
            yield shown

    def _copied(self, mount: RunMount, tree: Tree, undo: ExitStack) -> str:
        directory = tempfile.mkdtemp(dir=self._scratch)
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        selected = _selected(mount, tree)
        self._copy(tree, selected, directory)
        return directory if selected.is_directory else os.path.join(directory, selected.name)

    def _copy(self, tree: Tree, selected: Selected, directory: str) -> None:
        destination = Destination(directory, MemoryTree({}))
        rules = CopyRules()
        copier = Copier(destination, "/", into_directory=True, rules=rules, check=self._check)
        copier.copy(tree, selected, _nothing)
        destination.finish()
        entry = tree.entry(selected.path)
        mode = 0o755 if entry is None or not selected.is_directory else entry.mode
        if entry is not None and selected.is_directory:
            os.chown(directory, entry.uid, entry.gid)
        os.chmod(directory, mode)

    def _cache(self, mount: RunMount, find: FindTree, undo: ExitStack) -> str:
        def fill(path: str) -> None:
            if mount.from_:
                tree = find(mount.from_)
                self._copy(tree, _selected(mount, tree), path)
            if mount.uid is not None or mount.gid is not None or not mount.from_:
                os.chown(path, mount.uid or 0, mount.gid or 0)
            if mount.mode is not None or not mount.from_:
                os.chmod(path, 0o755 if mount.mode is None else mount.mode)

        cache_id = f"{self._lent.namespace}{mount.cache_id or clip(mount.target)}"
        path = undo.enter_context(self._caches.take(cache_id, mount.sharing, self._check, fill))
        if mount.from_ or not clip(mount.source):
            return path
        below = os.path.join(path, clip(mount.source))
        if os.path.realpath(below) != os.path.join(os.path.realpath(path), clip(mount.source)):
            raise InvalidParameterError(
                f"source {mount.source} of a cache mount leads through a link"
            )
        os.makedirs(below, exist_ok=True)
        return below

    def _secret(self, mount: RunMount, shown: Shown, undo: ExitStack) -> None:
        secret_id = mount.cache_id or mount.source or posixpath.basename(mount.target)
        value = self._lent.secrets.get(secret_id)
        if value is None:
            if mount.is_required:
                raise NotFoundError(
                    f"secret {secret_id}: not found: give it with kedge build --secret "
                    f"id={secret_id},src=FILE (docker without buildx cannot send secrets)"
                )
            return
        if mount.variable:
            shown.env.append(f"{mount.variable}={value.decode(errors='surrogateescape')}")
        target = mount.target
        if not target and not mount.variable:
            target = f"{_SECRET_FOLDER}/{posixpath.basename(secret_id)}"
        if not target:
            return
        descriptor, path = tempfile.mkstemp(dir=self._private)
        undo.callback(os.unlink, path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            file.flush()
            os.fchown(descriptor, mount.uid or 0, mount.gid or 0)
            os.fchmod(descriptor, 0o400 if mount.mode is None else mount.mode)
        shown.mounts.append(_bind(path, target, read_only=True))

    def _agent(self, mount: RunMount, shown: Shown, number: int) -> None:
        agent_id = mount.cache_id or _DEFAULT_AGENT
        path = self._lent.agents.get(agent_id)
        if path is None:
            if mount.is_required:
                raise NotFoundError(
                    f"ssh agent {agent_id}: not found: give it with kedge build --ssh {agent_id} "
                    "(docker without buildx cannot forward one)"
                )
            return
        target = mount.target or f"{_AGENT_PATH}.{number}"
        shown.mounts.append(_bind(path, target, read_only=False))
        if number == 0:
            shown.env.append(f"SSH_AUTH_SOCK={target}")


def _bind(path: str, target: str, read_only: bool) -> Mount:  # noqa: FBT001 - a mount option
    return Mount("bind", path, (*_BIND, "ro" if read_only else "rw"), target)


def _selected(mount: RunMount, tree: Tree) -> Selected:
    path = resolve(tree, clip(mount.source))
    entry = tree.entry(path)
    if entry is None:
        raise NotFoundError(f"RUN --mount: stat {mount.source}: file does not exist")
    name = posixpath.basename(path)
    return Selected(path=path, name=name, is_directory=entry.kind is Kind.DIRECTORY)


def _nothing(_path: str) -> bool:
    return False
