"""`LayerStack`: read a stack of layer directories as overlayfs would show it, without mounting.

Knows whiteouts, opaque directories and symbolic links, also links that lead from one layer into
another; nothing outside the layers can be reached. One plain directory is a stack of one. All
access goes through descriptors of the layer roots and refuses links at open, so that a process
that renames things meanwhile can cause an error, never a look outside.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple, Self

from kedge.archive.whiteouts import is_opaque, is_whiteout
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_MAX_LINKS: Final = 40  # the kernel's MAXSYMLINKS
_NO_ESCAPE: Final = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
# A fifo must not block and a device must not act when it is opened by mistake.
_OPEN_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class Node(NamedTuple):
    """Something that exists in the stack."""

    path: str
    """Canonical path without a leading slash and without links; empty for the root."""
    status: os.stat_result
    """Of the top-most layer that has it; never follows a link."""
    layers: tuple[int, ...]
    """Which layers have it, top first: several only for a merged directory."""

    @property
    def is_directory(self) -> bool:
        """It can be listed."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """It is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)


class Found(NamedTuple):
    """One name met on a walk, openable through its directory while the walk stands there."""

    path: str
    """Path relative to the root of the stack."""
    status: os.stat_result
    dir_fd: int
    name: str
    layer: int


class Level(NamedTuple):
    """One directory of a layer, open while `LayerStack.levels` stands there."""

    path: str
    """Path relative to the root of the stack; empty for the root."""
    status: os.stat_result
    descriptor: int
    entries: list[tuple[str, bool]]
    """Everything but directories in the order of the names; whether each is a regular file."""


class LayerStack:
    """A read-only view of layer directories; a context manager."""

    def __init__(self, layers: Sequence[str]) -> None:
        """Open the layer directories, top first."""
        self._layers = tuple(layers)
        self._roots: list[int] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for layer in layers:
                self._roots.append(os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            self._root = Node("", os.stat(self._roots[0]), self._until_opaque(""))
            undo.pop_all()

    def __enter__(self) -> Self:
        """Return the stack itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the layer directories."""
        self.close()

    def close(self) -> None:
        """Close the layer directories."""
        while self._roots:
            os.close(self._roots.pop())

    def lookup(self, path: str, *, follow: bool = True) -> Node | None:
        """Return what ``path`` leads to inside the stack; None if nothing does.

        Args:
            path: Absolute or relative to the root; ``..`` stops at the root.
            follow: Follow a link in the last place too. Links before it are always followed.

        Raises:
            InvalidParameterError: The links go round in a circle.
        """
        node, rest = self._resolve(path, follow=follow)
        return None if rest else node

    def canonical_path(self, path: str) -> str:
        """Return ``path`` with every link in it resolved inside the stack.

        What does not exist stays as it is written, cleaned of ``..``. No leading slash.
        """
        node, rest = self._resolve(path, follow=True)
        return os.path.normpath(f"/{'/'.join([node.path, *rest])}").lstrip("/")

    def require(self, path: str, *, follow: bool = True) -> Node:
        """Return what ``path`` leads to.

        Raises:
            NotFoundError: Nothing.
        """
        node = self.lookup(path, follow=follow)
        if node is None:
            raise NotFoundError(f"no such file or directory: {path}")
        return node

    def open_file(self, node: Node) -> int:
        """Return a descriptor for reading a regular file.

        Raises:
            InvalidParameterError: ``node`` is something else, or was replaced meanwhile.
        """
        try:
            descriptor = openat2(
                self._roots[node.layers[0]], node.path or ".", _OPEN_FILE, resolve=_NO_ESCAPE
            )
        except OSError as error:
            raise InvalidParameterError(f"cannot open /{node.path}: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidParameterError(f"not a regular file: /{node.path}")
        return descriptor

    def read_file(self, path: str, *, limit_bytes: int = 1 << 20) -> bytes | None:
        """Return the first ``limit_bytes`` of a regular file; None if there is no such file."""
        node = self.lookup(path)
        if node is None or not stat.S_ISREG(node.status.st_mode):
            return None
        with os.fdopen(self.open_file(node), "rb") as stream:
            return stream.read(limit_bytes)

    def read_link(self, node: Node) -> str:
        """Return the text of a symbolic link."""
        return os.readlink(node.path, dir_fd=self._roots[node.layers[0]])

    def list_directory(self, node: Node) -> list[Node]:
        """Return the children of a directory in the order of their names."""
        prefix = f"{node.path}/" if node.path else ""
        names: set[str] = set()
        for layer in node.layers:
            directory = self._open_checked(layer, node.path)
            try:
                names.update(os.listdir(directory))
            finally:
                os.close(directory)
        children = (self._find(node.layers, prefix + name) for name in sorted(names))
        return [child for child in children if child is not None]

    def walk(self, top: Node, *, keep_whiteouts: bool = False) -> Iterator[Found]:
        """Yield everything below ``top``: a directory, its files, then its subdirectories.

        The order depends on the names alone. Descriptors are valid until the next step, and at
        any time no more of them are open than there are layers.

        Args:
            top: A directory.
            keep_whiteouts: Yield overlayfs whiteouts as the devices they are.
        """
        pending = [top]
        while pending:
            here = pending.pop()
            with ExitStack() as opened:
                try:
                    directories = self._open_merged(here, opened)
                except OSError as error:
                    if error.errno == errno.ENOENT and here is not top:
                        continue  # a running container deleted it
                    reason = os.strerror(error.errno or 0).lower()
                    raise InvalidParameterError(f"cannot list /{here.path}: {reason}") from None
                if here is not top:
                    layer, descriptor = directories[0]
                    yield Found(here.path, here.status, descriptor, ".", layer)
                below: list[Node] = []
                for found, owners in self._merge(here.path, directories):
                    if stat.S_ISDIR(found.status.st_mode):
                        below.append(Node(found.path, found.status, owners))
                    elif keep_whiteouts or not is_whiteout(found.status):
                        yield found
            pending += reversed(below)

    def levels(self) -> Iterator[Level]:
        """Yield the directories of the top-most layer in the order of `walk`, from the root on.

        What is below is not merged in, and no file is looked at: whoever wants a regular file
        opens it anyway and learns more, for less, from its descriptor.
        """
        pending = [self._root]
        while pending:
            here = pending.pop()
            descriptor = self._open_checked(0, here.path)
            try:
                entries, folders = _list_level(descriptor)
                yield Level(here.path, here.status, descriptor, entries)
                prefix = f"{here.path}/" if here.path else ""
                below = [
                    Node(
                        prefix + name,
                        os.stat(name, dir_fd=descriptor, follow_symlinks=False),
                        (0,),
                    )
                    for name in folders
                ]
            finally:
                os.close(descriptor)
            pending += reversed(below)

    @contextmanager
    def hold(self, node: Node) -> Generator[Found]:
        """Stand beside ``node`` as a walk would, so that it can be opened by its directory."""
        parent, _, base = node.path.rpartition("/")
        descriptor = self._open_checked(node.layers[0], parent)
        try:
            yield Found(node.path, node.status, descriptor, base or ".", node.layers[0])
        finally:
            os.close(descriptor)

    def real_path(self, node: Node) -> str:
        """Return the host path of ``node`` in its top-most layer, for messages and tests."""
        return os.path.join(self._layers[node.layers[0]], node.path)

    def _merge(
        self, path: str, directories: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[Found, tuple[int, ...]]]:
        """Yield the names of a directory with the layers their own content comes from."""
        prefix = f"{path}/" if path else ""
        if len(directories) == 1:
            yield from _list_alone(prefix, *directories[0])
            return
        holders: dict[str, list[tuple[int, int]]] = {}
        for layer, descriptor in directories:
            for name in os.listdir(descriptor):
                holders.setdefault(name, []).append((layer, descriptor))
        for name in sorted(holders):
            layer, descriptor = holders[name][0]
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # a running container deleted it
            found = Found(prefix + name, status, descriptor, name, layer)
            owners: tuple[int, ...] = (layer,)
            if len(holders[name]) > 1 and stat.S_ISDIR(status.st_mode):
                node = self._find([layer for layer, _ in holders[name]], found.path)
                owners = node.layers if node else owners
            yield found, owners

    def _resolve(self, path: str, *, follow: bool) -> tuple[Node, list[str]]:
        """Return the last node that exists on the way, and the parts after it."""
        trail = [self._root]
        parts = path.split("/")[::-1]
        links = 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(trail) > 1:
                    trail.pop()
                continue
            here = trail[-1]
            child = None
            if here.is_directory:
                child = self._find(here.layers, f"{here.path}/{part}" if here.path else part)
            if child is None:
                return here, [part, *(part for part in reversed(parts) if part not in ("", "."))]
            if child.is_link and (follow or any(part not in ("", ".") for part in parts)):
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidParameterError(f"too many levels of symbolic links: {path}")
                target = self.read_link(child)
                if target.startswith("/"):
                    del trail[1:]
                parts += target.split("/")[::-1]
                continue
            trail.append(child)
        return trail[-1], []

    def _find(self, layers: Sequence[int], path: str) -> Node | None:
        """Return the node at ``path``, a path without links, in some of the layers."""
        top: os.stat_result | None = None
        merged: list[int] = []
        for layer in layers:
            try:
                status = os.stat(path, dir_fd=self._roots[layer], follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(status.st_mode):
                if top is None and not is_whiteout(status):
                    return Node(path, status, (layer,))
                break
            top = top or status
            merged.append(layer)
            if layer != layers[-1] and self._is_opaque(layer, path):
                break
        return None if top is None else Node(path, top, tuple(merged))

    def _until_opaque(self, path: str) -> tuple[int, ...]:
        layers: list[int] = []
        for layer in range(len(self._layers)):
            layers.append(layer)
            if layer + 1 < len(self._layers) and self._is_opaque(layer, path):
                break
        return tuple(layers)

    def _is_opaque(self, layer: int, path: str) -> bool:
        return is_opaque(os.path.join(self._layers[layer], path))

    def _open_directory(self, layer: int, path: str) -> int:
        return openat2(self._roots[layer], path or ".", _OPEN_DIRECTORY, resolve=_NO_ESCAPE)

    def _open_checked(self, layer: int, path: str) -> int:
        try:
            return self._open_directory(layer, path)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise InvalidParameterError(f"cannot list /{path}: {reason}") from None

    def _open_merged(self, node: Node, opened: ExitStack) -> list[tuple[int, int]]:
        """Return (layer, descriptor) of each directory that is merged at ``node``."""
        directories: list[tuple[int, int]] = []
        for layer in node.layers:
            descriptor = self._open_directory(layer, node.path)
            opened.callback(os.close, descriptor)
            directories.append((layer, descriptor))
        return directories


def _list_level(descriptor: int) -> tuple[list[tuple[str, bool]], list[str]]:
    """Return what is in a directory: (name, is a regular file), and the subdirectories."""
    entries: list[tuple[str, bool]] = []
    folders: list[str] = []
    with os.scandir(descriptor) as found:
        for each in found:
            if each.is_dir(follow_symlinks=False):
                folders.append(each.name)
            else:
                entries.append((each.name, each.is_file(follow_symlinks=False)))
    return sorted(entries), sorted(folders)


def _list_alone(
    prefix: str, layer: int, descriptor: int
) -> Iterator[tuple[Found, tuple[int, ...]]]:
    """Yield the names of a directory that only one layer has."""
    owners = (layer,)
    for name in sorted(os.listdir(descriptor)):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue  # a running container deleted it
        yield Found(prefix + name, status, descriptor, name, layer), owners
