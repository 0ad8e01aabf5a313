"""Making detached mounts: new file systems, and copies of mounts for binds.

A detached mount is a descriptor that is not attached anywhere yet, so all its attributes are in
force before anything can reach it, and closing it undoes everything. Kernels before 5.12 have no
``mount_setattr``; there `attach` changes bind mounts the classic way, after attaching.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import (
    ForbiddenError,
    InvalidParameterError,
    NotFoundError,
    NotSupportedError,
    SystemFailureError,
)
from kedge.lib.blocks import suppress
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux import mount as lm
from kedge.linux import namespaces as ns
from kedge.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from kedge.runtime.failures import refusal
from kedge.runtime.mount_options import MountOptions, parse_mount_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.oci.mounts import Mount


# File systems whose superblock others may share (the host's sysfs with --network host), so that
# read-only must be a property of the mount alone.
_VIRTUAL: Final = frozenset(("proc", "sysfs", "mqueue", "devpts", "tmpfs", "cgroup", "cgroup2"))
# `do_mount` in fs/namespace.c copies the data into one page.
_MOUNT_DATA_MAX: Final = 4095
_RETRIES: Final = 128
_CLASSIC_FLAGS: Final = {
    lm.MOUNT_ATTR_RDONLY: lm.MS_RDONLY,
    lm.MOUNT_ATTR_NOSUID: lm.MS_NOSUID,
    lm.MOUNT_ATTR_NODEV: lm.MS_NODEV,
    lm.MOUNT_ATTR_NOEXEC: lm.MS_NOEXEC,
    lm.MOUNT_ATTR_NODIRATIME: lm.MS_NODIRATIME,
    lm.MOUNT_ATTR_NOATIME: lm.MS_NOATIME,
    lm.MOUNT_ATTR_STRICTATIME: lm.MS_STRICTATIME,
}


def new_filesystem(fstype: str, source: str, options: MountOptions) -> int:
    """Return a detached mount of a new file system."""
    try:
        context = lm.fsopen(fstype)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise NotSupportedError(
                f"this kernel has no {fstype!r} file system (try: modprobe {fstype})"
            ) from error
        raise refusal(f"cannot open a {fstype} file system", error) from error
    try:
        if source:
            lm.fsconfig_set_string(context, "source", source)
        for name in options.superblock:
            lm.fsconfig_set_flag(context, name)
        if options.attr_set & lm.MOUNT_ATTR_RDONLY and fstype not in _VIRTUAL | {"overlay"}:
            lm.fsconfig_set_flag(context, "ro")
        for key, value in options.data:
            _configure(context, key, value)
        lm.fsconfig_create(context)
        fd = lm.fsmount(context, options.attr_set)
    except OSError as error:
        said = "; ".join(lm.read_messages(context))
        doing = f"cannot mount {fstype}" + (f" ({said})" if said else "")
        if error.errno == errno.EINVAL:
            raise InvalidParameterError(f"{doing}: invalid option or source") from error
        raise refusal(doing, error) from error
    finally:
        os.close(context)
    return fd


def _configure(context: int, key: str, value: str | None) -> None:
    if value is None:
        lm.fsconfig_set_flag(context, key)
    elif key != "lowerdir":
        lm.fsconfig_set_string(context, key, value)
    else:
        _configure_layers(context, value)


def _configure_layers(context: int, value: str) -> None:
    """Give overlayfs its lower layers one by one, so that their number is not limited by a page."""
    if "\\" in value:
        # An escaped colon: splitting would need unescaping, and ``lowerdir+`` takes names as is.
        lm.fsconfig_set_string(context, "lowerdir", value)
        return
    for layer in value.split(":"):
        lm.fsconfig_set_string(context, "lowerdir+", layer)


def clone_mount(source: str, *, recursive: bool) -> int:
    """Return a detached copy of what is at ``source``, for a bind mount."""
    flags = lm.OPEN_TREE_CLONE | (lm.AT_RECURSIVE if recursive else 0)
    try:
        return lm.open_tree(lm.AT_FDCWD, source, flags)
    except FileNotFoundError as error:
        raise NotFoundError(f"bind source path does not exist: {source}") from error
    except OSError as error:
        # What another process sees may be a mount of another namespace.
        _, proc, pid, link, *path = [*source.split("/", 4), "", "", ""]
        seen = proc == "proc" and pid.isdecimal() and link == "root" and path[0]
        if error.errno == errno.EINVAL and seen:
            return _clone_foreign(pid, f"/{path[0]}", flags)
        raise refusal(f"cannot bind {source}", error) from error


def _clone_foreign(pid: str, path: str, flags: int) -> int:
    """Return a detached copy of ``path`` as process ``pid`` sees it.

    The kernel copies mounts of the caller's own mount namespace only, so the caller visits the
    other one for a moment. A detached mount belongs to nobody and comes along.
    """
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = -1
    try:
        theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        ns.setns(theirs, ns.CLONE_NEWNS)
        try:
            return lm.open_tree(lm.AT_FDCWD, path, flags)
        finally:
            ns.setns(ours, ns.CLONE_NEWNS)
    except OSError as error:
        raise refusal(f"cannot bind {path} of process {pid}", error) from error
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def clone_beneath(source: str, subpath: str, *, recursive: bool) -> int:
    """Return a detached copy of what is at ``subpath`` in the directory ``source``.

    Whoever can write there may exchange names at any time: the copy is of what was opened, and
    no link has been followed out of ``source`` on the way.
    """
    top = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_RETRIES):
            with suppress(BlockingIOError):  # a rename made the kernel give up
                fd = openat2(top, subpath, os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
                try:
                    return clone_fd(fd, recursive=recursive)
                finally:
                    os.close(fd)
    except OSError as error:
        path = f"{source}/{subpath}"
        if error.errno == errno.EXDEV:
            raise ForbiddenError(f"cannot access path {path}: it leads out of the volume") from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            reason = os.strerror(error.errno).lower()
            raise NotFoundError(f"cannot access path {path}: {reason}") from error
        raise refusal(f"cannot access path {path}", error) from error
    finally:
        os.close(top)
    raise SystemFailureError(f"cannot access path {source}/{subpath}: it keeps changing")


def clone_fd(fd: int, *, recursive: bool = False) -> int:
    """Return a detached copy of the mount that ``fd`` was opened on, rooted at ``fd``."""
    flags = lm.OPEN_TREE_CLONE | lm.AT_EMPTY_PATH | (lm.AT_RECURSIVE if recursive else 0)
    return lm.open_tree(fd, "", flags)


def change_attributes(fd: int, options: MountOptions) -> None:
    """Set and clear attributes of the detached mount ``fd``, recursive ones also below it."""
    set_bits, clear_bits = options.attr_set, options.attr_clr
    if set_bits or clear_bits:
        lm.mount_setattr(fd, attr_set=set_bits, attr_clr=clear_bits)
    if options.recursive_set or options.recursive_clr:
        lm.mount_setattr(
            fd, attr_set=options.recursive_set, attr_clr=options.recursive_clr, recursive=True
        )


def change_classic(fd: int, options: MountOptions) -> None:
    """Do `change_attributes` for an attached bind mount where ``mount_setattr`` is missing."""
    if options.recursive_set or options.recursive_clr:
        raise NotSupportedError("recursive mount options need Linux 5.12")
    flags = 0
    for attribute, flag in _CLASSIC_FLAGS.items():
        if options.attr_set & attribute:
            flags |= flag
    lm.mount("", f"/proc/self/fd/{fd}", "", lm.MS_BIND | lm.MS_REMOUNT | flags)


def set_propagation(fd: int, options: MountOptions) -> None:
    """Apply the propagation options to the attached mount ``fd``."""
    for flag, recursive in options.propagation:
        lm.mount("", f"/proc/self/fd/{fd}", "", flag | (lm.MS_REC if recursive else 0))


def mount_root(mounts: Sequence[Mount], path: str) -> int:
    """Attach ``mounts`` one over the other at ``path`` and return a descriptor of the top one.

    Without mounts, ``path`` is bound on itself, because ``pivot_root`` wants a mount.
    """
    if not mounts:
        fd = clone_mount(path, recursive=True)
        lm.move_mount(fd, lm.AT_FDCWD, path)
        return fd
    top = -1
    for mount in mounts:
        target = f"{path}/{mount.destination.lstrip('/')}" if mount.destination else path
        try:
            fd = _mount_layer(mount, target)
        except OSError as error:
            raise refusal(f"cannot mount the root file system at {target}", error) from error
        if mount.destination:
            os.close(fd)
        else:
            top = fd
    if top < 0:
        raise InvalidParameterError("none of the rootfs mounts is the root itself")
    return top


def attach_root(fd: int) -> None:
    """Attach a detached root anywhere; in a namespace of our own it does not matter where."""
    place = next(each for each in ("/tmp", "/mnt", "/run") if os.path.isdir(each))  # noqa: S108
    lm.move_mount(fd, lm.AT_FDCWD, place)


def _mount_layer(mount: Mount, target: str) -> int:
    options = parse_mount_options(mount.options)
    if mount.type == "bind" or options.bind:
        fd = clone_mount(mount.source, recursive=options.recursive_bind)
        change_attributes(fd, options)
    elif mount.type == "overlay" and not _has_layer_option():
        return _mount_overlay_classic(mount, options, target)
    else:
        fd = new_filesystem(mount.type, mount.source, options)
    lm.move_mount(fd, lm.AT_FDCWD, target)
    return fd


def _has_layer_option() -> bool:
    """Tell whether overlayfs takes ``lowerdir+``, which came with Linux 6.5."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)))) >= (6, 5)


def _mount_overlay_classic(mount: Mount, options: MountOptions, target: str) -> int:
    data = ",".join(key if value is None else f"{key}={value}" for key, value in options.data)
    if len(os.fsencode(data)) > _MOUNT_DATA_MAX:
        raise NotSupportedError(
            "the image's layers do not fit in one overlay mount; Linux 6.5 has no such limit"
        )
    flags = lm.MS_RDONLY if options.attr_set & lm.MOUNT_ATTR_RDONLY else 0
    lm.mount(mount.source or "overlay", target, "overlay", flags, data)
    return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
