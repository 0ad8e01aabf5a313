"""`Extractor`: makes entries real in a `TargetTree`, with owner, mode, times and attributes.

Follows what Docker's and containerd's archive packages do with a duplicate name: a directory
over a directory merges, everything else replaces what is there. Whiteouts are entries like any
other here; `kedge.archive.apply` gives them their meaning.

The order for one file is fixed by the kernel: writing drops capabilities, chown drops setuid,
so it is content, owner, mode, attributes, times.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from kedge.archive.entry import Entry, Kind, entry_of
from kedge.archive.layered import LayerStack, Node
from kedge.archive.removal import remove_tree
from kedge.archive.target import TargetTree, clean_path, make_directory
from kedge.archive.whiteouts import is_whiteout, make_opaque
from kedge.archive.xattrs import read_xattrs, set_xattrs
from kedge.errdefs import InvalidParameterError, KedgeError, SystemFailureError

Content = Iterable[bytes | memoryview]
"""The stored bytes of an entry, in order."""

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NANOS: Final = 1_000_000_000
# Years 1901 to 2446, what ext4 can keep. Beyond, the kernel would clamp or refuse.
_TIME_MIN_NS: Final = -(1 << 31) * _NANOS
_TIME_MAX_NS: Final = 15_032_385_535 * _NANOS
_ID_MAX: Final = (1 << 32) - 2
_NOTES_MAX: Final = 20

# What a hostile or foolish entry provokes; everything else is the host's trouble.
_ENTRY_FAULTS: Final = frozenset(
    {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EINVAL}
    | {errno.EEXIST, errno.EFBIG, errno.EMLINK, errno.EXDEV}
)


class Extractor:
    """Adds entries to a directory; a context manager, whose `finish` completes the work."""

    def __init__(
        self,
        root: str,
        *,
        lower: Sequence[str] = (),
        for_overlay: bool = False,
        keep_kinds: bool = False,
        name: str = "archive",
    ) -> None:
        """Open the directory ``root``; nothing outside it will ever be written.

        Args:
            root: Existing directory.
            lower: Layer directories it covers, top first: parents that are only there are
                copied up, and hard links may name files there.
            for_overlay: Write what overlayfs needs when a name changes its kind.
            keep_kinds: Refuse to replace a directory by something else or the reverse.
            name: What messages call the archive.
        """
        self.tree = TargetTree(root, lower, for_overlay=for_overlay)
        self.entries = 0
        self.size_bytes = 0
        """Sum of the sizes of regular files."""
        self.notes: list[str] = []
        """What the host could not keep, such as an attribute its file system refuses."""
        self._keep_kinds = keep_kinds
        self._name = name
        self._makers: dict[Kind, Callable[[Entry, int, str, str], None]] = {
            Kind.SYMLINK: self._symlink,
            Kind.CHAR_DEVICE: self._special,
            Kind.BLOCK_DEVICE: self._special,
            Kind.FIFO: self._special,
            Kind.HARD_LINK: self._hard_link,
        }

    def __enter__(self) -> Self:
        """Return the extractor itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every descriptor; what was written stays."""
        self.tree.__exit__()

    def add(self, entry: Entry, content: Content = ()) -> str:
        """Make one entry and return its path below the root.

        Raises:
            InvalidParameterError: The entry tries to leave the root, or contradicts itself.
            SystemFailureError: The host cannot take it: no space, no permission.
        """
        try:
            path = clean_path(entry.name)
            self._add(entry, path, content)
        except OSError as error:
            raise self.failure(entry, error) from error
        except ValueError as error:
            message = f"{self._name}: {entry.name!r}: {error}"
            raise InvalidParameterError(message) from None
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{self._name}: {error}") from None
        self.entries += 1
        return path

    def finish(self) -> None:
        """Set the times of directories. Call it once, after the last entry."""
        self.tree.finish()

    def failure(self, entry: Entry, error: OSError) -> KedgeError:
        """Return what to raise for an error of the kernel's about ``entry``."""
        message = f"{self._name}: {entry.name}: {os.strerror(error.errno or 0).lower()}"
        if error.errno in _ENTRY_FAULTS:
            return InvalidParameterError(message)
        return SystemFailureError(message)

    def _note(self, text: str) -> None:
        if len(self.notes) < _NOTES_MAX:
            self.notes.append(f"{self._name}: {text}")

    def _add(self, entry: Entry, path: str, content: Content) -> None:
        if not (0 <= entry.uid <= _ID_MAX and 0 <= entry.gid <= _ID_MAX):
            raise InvalidParameterError(f"{entry.name}: owner {entry.uid}:{entry.gid}")
        parent, _, base = path.rpartition("/")
        if entry.kind is Kind.DIRECTORY:
            self._directory(entry, parent, base, path)
            return
        if not base:
            raise InvalidParameterError(f"the root of the archive is a {entry.kind}")
        parent_fd = self.tree.directory(parent)
        if self._keep_kinds:
            self._refuse_other_kind(entry, path)
        if entry.kind is Kind.REGULAR:
            self._regular(entry, parent_fd, base, content)
        else:
            self._makers[entry.kind](entry, parent_fd, base, path)

    def _directory(self, entry: Entry, parent: str, base: str, path: str) -> None:
        tree = self.tree
        if not base:
            self._complete(entry, tree.root_fd)
            tree.times[""] = _clamp(entry.mtime_ns)
            return
        parent_fd = tree.directory(parent)
        if self._keep_kinds:
            self._refuse_other_kind(entry, path)
        try:
            descriptor = make_directory(base, parent_fd)
        except FileExistsError:
            status = os.stat(base, dir_fd=parent_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                descriptor = tree.directory(path)
                self._complete(entry, descriptor)
                tree.times[path] = _clamp(entry.mtime_ns)
                return
            # A link must not be followed here: its target would get this entry's mode.
            self._clear(base, parent_fd)
            descriptor = make_directory(base, parent_fd)
            if tree.for_overlay:
                # What it replaced hid the directory of the layers below, and still must.
                make_opaque(descriptor)
        tree.keep(path, descriptor)
        self._complete(entry, descriptor)
        tree.times[path] = _clamp(entry.mtime_ns)

    def _regular(self, entry: Entry, parent_fd: int, base: str, content: Content) -> None:
        mode = entry.mode & 0o777
        try:
            descriptor = os.open(base, _NEW_FILE, mode, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(base, parent_fd)
            descriptor = os.open(base, _NEW_FILE, mode, dir_fd=parent_fd)
        try:
            if entry.segments is None:
                for piece in content:
                    _write_all(descriptor, piece)
            else:
                _write_sparse(descriptor, entry, content)
            self._complete(entry, descriptor)
            time_ns = _clamp(entry.mtime_ns)
            os.utime(descriptor, ns=(time_ns, time_ns))
        finally:
            os.close(descriptor)
        self.size_bytes += entry.size

    def _complete(self, entry: Entry, descriptor: int) -> None:
        """Give a file or directory its owner, mode and attributes."""
        # Most files are root's and were made with the right mode. Looking is cheaper than two
        # calls that each write to the file system's journal.
        status = os.fstat(descriptor)
        is_own = status.st_uid == entry.uid and status.st_gid == entry.gid
        if not is_own:
            os.fchown(descriptor, entry.uid, entry.gid)
        if not is_own or status.st_mode & 0o7777 != entry.mode:
            os.fchmod(descriptor, entry.mode)
        if entry.xattrs:
            self._set_xattrs(entry, descriptor)

    def _set_xattrs(self, entry: Entry, file: int | str) -> None:
        for name in set_xattrs(file, entry.xattrs):
            self._note(f"{entry.name}: attribute {name} is not supported here")

    def _symlink(self, entry: Entry, parent_fd: int, base: str, _path: str) -> None:
        try:
            os.symlink(entry.link_target, base, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(base, parent_fd)
            os.symlink(entry.link_target, base, dir_fd=parent_fd)
        self._complete_by_name(entry, parent_fd, base)

    def _special(self, entry: Entry, parent_fd: int, base: str, _path: str) -> None:
        kinds = {Kind.CHAR_DEVICE: stat.S_IFCHR, Kind.BLOCK_DEVICE: stat.S_IFBLK}
        mode = kinds.get(entry.kind, stat.S_IFIFO) | 0o600
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise InvalidParameterError(f"{entry.name}: no such device number {major}:{minor}")
        device = os.makedev(major, minor)
        try:
            os.mknod(base, mode, device, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(base, parent_fd)
            os.mknod(base, mode, device, dir_fd=parent_fd)
        except PermissionError:
            # Without CAP_MKNOD an image is still useful: the runtime brings its own /dev.
            self._note(f"{entry.name}: making a {entry.kind} is not permitted here")
            return
        handle = os.open(base, _HANDLE, dir_fd=parent_fd)
        try:
            os.chown(base, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
            os.chmod(f"/proc/self/fd/{handle}", entry.mode)
        finally:
            os.close(handle)
        self._complete_by_name(entry, parent_fd, base, has_owner=True)

    def _complete_by_name(
        self, entry: Entry, parent_fd: int, base: str, *, has_owner: bool = False
    ) -> None:
        """Set owner, attributes and times of what cannot be opened for it."""
        if not has_owner:
            os.chown(base, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(entry, f"/proc/self/fd/{parent_fd}/{base}")
        time_ns = _clamp(entry.mtime_ns)
        os.utime(base, ns=(time_ns, time_ns), dir_fd=parent_fd, follow_symlinks=False)

    def _hard_link(self, entry: Entry, parent_fd: int, base: str, path: str) -> None:
        target = clean_path(entry.link_target)
        if target == path:
            return
        target_parent, _, target_base = target.rpartition("/")
        if not target_base:
            raise InvalidParameterError(f"{entry.name}: hard link to the root")
        # The second look-up may close the first descriptor.
        parent_fd = os.dup(parent_fd)
        try:
            target_fd = self.tree.directory(target_parent)
            self._ensure_link_target(entry, target, target_fd, target_base)
            try:
                os.link(
                    target_base,
                    base,
                    src_dir_fd=target_fd,
                    dst_dir_fd=parent_fd,
                    follow_symlinks=False,
                )
            except FileExistsError:
                if _same_file(target_base, target_fd, base, parent_fd):
                    return
                self._clear(base, parent_fd)
                os.link(
                    target_base,
                    base,
                    src_dir_fd=target_fd,
                    dst_dir_fd=parent_fd,
                    follow_symlinks=False,
                )
        finally:
            os.close(parent_fd)

    def _ensure_link_target(self, entry: Entry, target: str, target_fd: int, base: str) -> None:
        """Make sure that a link's target stands in the root; copy it up from below if needed."""
        try:
            status = os.stat(base, dir_fd=target_fd, follow_symlinks=False)
        except FileNotFoundError:
            merged = self.tree.merged
            node = None if merged is None else merged.lookup(target, follow=False)
            if merged is None or node is None:
                message = f"{entry.name}: hard link to {target}, which does not exist"
                raise InvalidParameterError(message) from None
            if node.is_directory:
                message = f"{entry.name}: hard link to the directory {target}"
                raise InvalidParameterError(message) from None
            self._copy_up(merged, node, target_fd, base)
            return
        if stat.S_ISDIR(status.st_mode):
            raise InvalidParameterError(f"{entry.name}: hard link to the directory {target}")
        if self.tree.for_overlay and is_whiteout(status):
            raise InvalidParameterError(f"{entry.name}: hard link to {target}, which is deleted")

    def _copy_up(self, stack: LayerStack, node: Node, parent_fd: int, base: str) -> None:
        entry = entry_of(base, node.status, read_xattrs(stack.real_path(node)))
        if entry is None:
            raise InvalidParameterError(f"{node.path}: a socket cannot be copied up")
        if node.is_link:
            self._symlink(entry._replace(link_target=stack.read_link(node)), parent_fd, base, base)
        elif entry.kind is not Kind.REGULAR:
            self._special(entry, parent_fd, base, base)
        else:
            with open(stack.open_file(node), "rb", buffering=0) as source:
                content = iter(lambda: source.read(1 << 20), b"")
                self._regular(entry, parent_fd, base, content)

    def _clear(self, base: str, parent_fd: int) -> None:
        """Remove what stands in an entry's way."""
        status = os.stat(base, dir_fd=parent_fd, follow_symlinks=False)
        remove_tree(base, dir_fd=parent_fd)
        if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            # Paths through it lead elsewhere now.
            self.tree.forget(parent_fd)

    def _refuse_other_kind(self, entry: Entry, path: str) -> None:
        status = self._status(path)
        if status is None:
            return
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and entry.kind is not Kind.DIRECTORY:
            raise InvalidParameterError(
                f'cannot overwrite directory "/{path}" with non-directory "{entry.name}"'
            )
        if not is_directory and entry.kind is Kind.DIRECTORY:
            raise InvalidParameterError(
                f'cannot overwrite non-directory "/{path}" with directory "{entry.name}"'
            )

    def _status(self, path: str) -> os.stat_result | None:
        """Return what stands at a path now, also where only a lower layer has it."""
        if self.tree.merged is not None:
            node = self.tree.merged.lookup(path, follow=False)
            return None if node is None else node.status
        parent, _, base = path.rpartition("/")
        try:
            return os.stat(base, dir_fd=self.tree.directory(parent), follow_symlinks=False)
        except FileNotFoundError:
            return None


def _clamp(time_ns: int) -> int:
    return min(max(time_ns, _TIME_MIN_NS), _TIME_MAX_NS)


def _write_all(descriptor: int, piece: bytes | memoryview) -> None:
    written = os.write(descriptor, piece)
    while written < len(piece):
        piece = memoryview(piece)[written:]
        written = os.write(descriptor, piece)


def _write_sparse(descriptor: int, entry: Entry, content: Content) -> None:
    """Write the runs of a sparse file where they belong and leave the rest as holes."""
    os.ftruncate(descriptor, entry.size)
    segments = iter(entry.segments or ())
    offset = left = 0
    for piece in content:
        view = memoryview(piece)
        while view:
            while not left:
                offset, left = next(segments)
            written = os.pwrite(descriptor, view[:left], offset)
            offset += written
            left -= written
            view = view[written:]


def _same_file(first: str, first_fd: int, second: str, second_fd: int) -> bool:
    return os.path.samestat(
        os.stat(first, dir_fd=first_fd, follow_symlinks=False),
        os.stat(second, dir_fd=second_fd, follow_symlinks=False),
    )
