"""Building the container's mount tree, from inside its new mount namespace.

One pass over ``mounts``: each becomes a detached mount with its final attributes, its target is
opened inside the root (`kedge.runtime.rootpath`), and `move_mount` joins the two descriptors. No
path of the image is ever resolved by name again, so no symlink in it can send a mount elsewhere,
and all of this happens before `pivot_root`, while the host's /proc and /dev are there to trust.
"""

from __future__ import annotations

import errno
import os
import stat

from kedge.errdefs import ForbiddenError, InvalidParameterError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import mount as lm
from kedge.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, openat2
from kedge.runtime import procmounts
from kedge.runtime.cgroup_view import mount_cgroup
from kedge.runtime.copy_up import copy_tree
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import (
    change_attributes,
    change_classic,
    clone_beneath,
    clone_fd,
    clone_mount,
    new_filesystem,
    set_propagation,
)
from kedge.runtime.mount_options import MountOptions, parse_mount_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from kedge.oci.runtime_spec.types import SpecMount
    from kedge.runtime.rootpath import RootPath


KERNEL_FILES: Final = ("/proc", "/sys")
"""Where paths are hidden and protected, by what was mounted there and not by its name."""
_NO_OPTIONS: Final = MountOptions()
# What the root itself becomes once it is "/"; until then it has to be bound, moved and pivoted to.
_FINAL_PROPAGATION: Final = {"shared": lm.MS_SHARED, "unbindable": lm.MS_UNBINDABLE}


class PlannedMount(NamedTuple):
    """A mount with its options parsed, which is done before the fork."""

    spec: SpecMount
    options: MountOptions
    kind: str
    """``bind``, ``cgroup`` or the file-system type."""
    idmap_fd: int = -1
    """User namespace whose mapping the mount gets; -1 for none."""


def plan_mounts(mounts: Sequence[SpecMount], bundle: str) -> tuple[PlannedMount, ...]:
    """Parse the options of every mount; relative bind sources are relative to ``bundle``.

    Raises:
        InvalidParameterError: A destination or an option makes no sense.
    """
    planned: list[PlannedMount] = []
    for mount in mounts:
        options = parse_mount_options(mount.options)
        # The specification wants absolute destinations but has runtimes accept others.
        destination = "/" + mount.destination.lstrip("/")
        if "\0" in destination or os.path.normpath(destination) == "/":
            raise InvalidParameterError(f"cannot mount on {mount.destination!r}")
        kind = "bind" if options.bind or mount.type == "bind" else mount.type
        if kind in ("cgroup", "cgroup2"):
            kind = "cgroup"
        source = mount.source
        if kind == "bind":
            if not source:
                raise InvalidParameterError(f"the bind mount at {destination} has no source")
            source = os.path.join(bundle, source)
        elif not kind:
            raise InvalidParameterError(f"the mount at {destination} has no type")
        if options.copy_up and kind != "tmpfs":
            raise InvalidParameterError(f"tmpcopyup at {destination} is for tmpfs only")
        planned.append(
            PlannedMount(mount._replace(destination=destination, source=source), options, kind)
        )
    return tuple(planned)


def isolate_propagation(rootfs_propagation: str) -> None:
    """Stop mounts made here from reaching the host; private ones do not hear of it either."""
    private = rootfs_propagation.removeprefix("r") in ("private", "unbindable")
    lm.mount("", "/", "", (lm.MS_PRIVATE if private else lm.MS_SLAVE) | lm.MS_REC)


def set_root_propagation(rootfs_propagation: str) -> None:
    """Make the root, which is ``/`` by now, shared or unbindable where the spec wants that.

    A shared one gets a peer group of its own: what is mounted in it is seen by the namespaces
    copied from this one, and never by the host.
    """
    flag = _FINAL_PROPAGATION.get(rootfs_propagation.removeprefix("r"))
    if flag is not None:
        deep = lm.MS_REC if rootfs_propagation.startswith("r") else 0
        lm.mount("", "/", "", flag | deep)


class Source(NamedTuple):
    """A detached mount of something on the host."""

    fd: int
    classic: bool
    """Whether the attributes are still to be set, after attaching, by an old kernel."""


def open_sources(mounts: Sequence[PlannedMount]) -> dict[int, Source]:
    """Return the bind mounts, detached, by their position; needs the host's privileges."""
    found: dict[int, Source] = {}
    for position, mount in enumerate(mounts):
        if mount.kind == "bind":
            found[position] = _open_source(mount)
    return found


def open_shared_sources(mounts: Sequence[PlannedMount]) -> dict[int, Source]:
    """Return the bind mounts that are to stay in their peer group on the host.

    To be called before `isolate_propagation`: what is cloned after it can only be a slave.
    """
    return {
        position: _open_source(mount)
        for position, mount in enumerate(mounts)
        if mount.kind == "bind" and _is_shared(mount)
    }


def _is_shared(mount: PlannedMount) -> bool:
    return any(flag == lm.MS_SHARED for flag, _ in mount.options.propagation)


def _renew(source: Source) -> Source:
    """Return a copy of the detached ``source``, in its peer group, that is the youngest mount.

    Since Linux 6.8 mountinfo lists mounts by age; what was opened early would come first.
    """
    try:
        fd = clone_fd(source.fd, recursive=True)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what Linux before 6.15 says of detached mounts
            raise
        return source
    os.close(source.fd)
    return source._replace(fd=fd)


def _open_source(mount: PlannedMount) -> Source:
    spec, options, _kind, idmap_fd = mount
    if options.subpath:
        fd = clone_beneath(spec.source, options.subpath, recursive=options.recursive_bind)
    else:
        fd = clone_mount(spec.source, recursive=options.recursive_bind)
    try:
        if idmap_fd >= 0:
            lm.mount_setattr(
                fd,
                attr_set=lm.MOUNT_ATTR_IDMAP,
                userns_fd=idmap_fd,
                recursive=options.idmap == "ridmap",
            )
        return Source(fd, classic=not _try_change(fd, options))
    except OSError as error:
        raise refusal(
            f"cannot set the options of the bind mount at {spec.destination}", error
        ) from error


def attach_at(source: int, place: str) -> None:
    """Attach the detached mount ``source`` at ``place``, which is made for it; closes it."""
    try:
        if stat.S_ISDIR(os.fstat(source).st_mode):
            os.mkdir(place, mode=0o700)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        lm.move_mount(source, lm.AT_FDCWD, place)
    finally:
        os.close(source)


def make_mounts(
    root: RootPath,
    mounts: Sequence[PlannedMount],
    cgroups: Mapping[str, str],
    sources: Mapping[int, Source],
) -> None:
    """Attach every mount in order.

    Args:
        root: The container's root.
        mounts: What `plan_mounts` returned.
        cgroups: The container's directory per v1 controller, or under ``""`` on v2.
        sources: Binds, and whatever else has been opened already, by position.
    """
    for position, mount in enumerate(mounts):
        try:
            if mount.kind == "cgroup":
                mount_cgroup(root, mount.spec.destination, mount.options, cgroups)
            elif mount.kind == "bind" or position in sources:
                source = sources.get(position) or _open_source(mount)
                _attach(root, mount, _renew(source) if _is_shared(mount) else source)
            else:
                named = mount.spec.source or mount.kind
                fd = new_filesystem(mount.kind, named, _writable(mount.options))
                _attach(root, mount, Source(fd, classic=False))
        except OSError as error:
            raise refusal(
                f"cannot mount {mount.spec.source or mount.kind} at {mount.spec.destination}",
                error,
            ) from error


def _attach(root: RootPath, mount: PlannedMount, source: Source) -> None:
    spec, options, kind, _idmap_fd = mount
    fd = source.fd
    is_directory = kind != "bind" or stat.S_ISDIR(os.fstat(fd).st_mode)
    try:
        # Once before anything is made there, and once more after symlinks were followed.
        named = spec.source or kind
        lexical = os.path.normpath(spec.destination)
        procmounts.check_place(lexical, kind=kind, source=named, source_fd=fd)
        target = (
            root.ensure_directory(spec.destination)
            if is_directory
            else root.ensure_file(spec.destination)
        )
        try:
            place = procmounts.check_target(root, target, spec.destination, kind=kind)
            procmounts.check_place(place, kind=kind, source=named, source_fd=fd)
            _check_kind(target, mount, is_directory=is_directory)
            if options.copy_up:
                copy_tree(target, fd)
                _try_change(fd, options)
            lm.move_mount(fd, target)
        finally:
            os.close(target)
        if place in KERNEL_FILES:
            root.pin(place, fd)
        if source.classic:
            change_classic(fd, options)
        if options.propagation:
            set_propagation(fd, options)
    finally:
        os.close(fd)


def _writable(options: MountOptions) -> MountOptions:
    """Return the options to start with: a tmpfs that is to be filled cannot be read-only yet."""
    if not options.copy_up:
        return options
    return options._replace(attr_set=options.attr_set & ~lm.MOUNT_ATTR_RDONLY)


def _try_change(fd: int, options: MountOptions) -> bool:
    try:
        change_attributes(fd, options)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return False
    return True


def _check_kind(target: int, mount: PlannedMount, *, is_directory: bool) -> None:
    """Refuse to put a directory on a file or the other way round."""
    if stat.S_ISDIR(os.fstat(target).st_mode) != is_directory:
        kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
        raise InvalidParameterError(
            f"cannot mount {kinds[0]} on {mount.spec.destination}, which is {kinds[1]}"
        )


def mask_paths(root: RootPath, masked: Sequence[str], *, null: int) -> None:
    """Hide files under the null device and directories under one empty, read-only tmpfs.

    Args:
        root: The container's root.
        masked: Paths as the container sees them; what does not exist is skipped.
        null: A descriptor of the null device that was checked, because the image may have
            something else at /dev/null (CVE-2025-31133).
    """
    empty = -1
    for path in masked:
        target = _open_existing(root, path)
        if target < 0:
            continue
        try:
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                source = clone_fd(null)
            elif empty < 0:
                empty = source = _empty_directory()
            else:
                source = clone_fd(empty)
            lm.move_mount(source, target)
            if source != empty:
                os.close(source)
        except OSError as error:
            raise refusal(f"cannot mask {path}", error) from error
        finally:
            os.close(target)
    if empty >= 0:
        os.close(empty)


def _empty_directory() -> int:
    options = _NO_OPTIONS._replace(
        attr_set=lm.MOUNT_ATTR_RDONLY
        | lm.MOUNT_ATTR_NOSUID
        | lm.MOUNT_ATTR_NODEV
        | lm.MOUNT_ATTR_NOEXEC,
        data=(("nr_inodes", "2"), ("size", "4k"), ("mode", "755")),
    )
    return new_filesystem("tmpfs", "tmpfs", options)


def protect_paths(root: RootPath, readonly: Sequence[str]) -> None:
    """Make each existing path read-only, with the mounts below it."""
    for path in readonly:
        target = _open_existing(root, path)
        if target < 0:
            continue
        try:
            source = clone_fd(target, recursive=True)
            try:
                if _try_change(source, _NO_OPTIONS._replace(recursive_set=lm.MOUNT_ATTR_RDONLY)):
                    lm.move_mount(source, target)
                else:
                    lm.move_mount(source, target)
                    change_classic(source, _NO_OPTIONS._replace(attr_set=lm.MOUNT_ATTR_RDONLY))
            finally:
                os.close(source)
        except OSError as error:
            raise refusal(f"cannot make {path} read-only", error) from error
        finally:
            os.close(target)


def _open_existing(root: RootPath, path: str) -> int:
    """Open ``path``, or return -1 when there is nothing to hide.

    No symlink may be on the way below /proc and /sys: an image could lead the mask of /proc/kcore
    somewhere else and leave the real one bare.
    """
    try:
        return root.open_pinned(os.path.normpath(path))
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ForbiddenError(f"cannot protect {path}: it leads over a symlink") from error
        raise refusal(f"cannot protect {path}", error) from error


def make_root_readonly(root: RootPath) -> None:
    """Make the root mount itself read-only, not the mounts in it."""
    options = _NO_OPTIONS._replace(attr_set=lm.MOUNT_ATTR_RDONLY)
    if not _try_change(root.fd, options):
        change_classic(root.fd, options)


def write_sysctls(sysctls: Mapping[str, str], proc_fd: int) -> None:
    """Write kernel parameters of this process's namespaces through the host's own /proc."""
    for name, value in sysctls.items():
        path = "sys/" + (name if "/" in name else name.replace(".", "/"))
        try:
            fd = openat2(
                proc_fd,
                path,
                os.O_WRONLY,
                0,
                RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
            )
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise refusal(f"cannot set the sysctl {name} to {value}", error) from error


def pivot(root: RootPath, *, keep_host_root: bool) -> None:
    """Make the container's root the root of everything; the host's tree becomes unreachable.

    Args:
        root: The root, which is a mount.
        keep_host_root: Use MS_MOVE and chroot instead, for an initramfs that cannot be pivoted.
    """
    if keep_host_root:
        os.fchdir(root.fd)
        lm.mount(".", "/", "", lm.MS_MOVE)
        os.chroot(".")
        os.chdir("/")
        return
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(root.fd)
        try:
            lm.pivot_root(".", ".")
        except OSError as error:
            raise refusal("cannot pivot_root (a ramfs root needs --no-pivot)", error) from error
        os.fchdir(old)
        # With a shared root the detaching would otherwise reach the host.
        lm.mount("", ".", "", lm.MS_SLAVE | lm.MS_REC)
        lm.umount(".", lm.MNT_DETACH)
    finally:
        os.close(old)
    os.chdir("/")
