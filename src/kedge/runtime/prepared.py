"""What a container in a user namespace gets from the host, opened before it enters that namespace.

Root of a user namespace may neither reach the host's directories nor mount an overlay of them. So
a mount namespace is made to be thrown away, and in it detached mounts that live on.

A root file system with the option ``idmap`` is stored with the container's ids, 0 for its root, and
shown through an id-mapped mount: the directory all its layers lie in is mounted over itself, and
overlayfs is told the paths it would be told anyway. One mount serves any number of layers, nothing
is copied or given to another owner, and one image serves containers of every mapping. While
overlayfs is mounted, this process passes for the mapped root: overlayfs keeps its credentials for
the files it makes itself, and the host's root has no place in the mapping.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.linux import mount as lm
from kedge.linux import namespaces as ns
from kedge.linux.identity import acting_as
from kedge.oci.mounts import Mount
from kedge.runtime import rootfs
from kedge.runtime.failures import refusal
from kedge.runtime.filesystems import change_attributes, clone_mount, new_filesystem
from kedge.runtime.mount_options import MountOptions, parse_mount_options
from kedge.runtime.rootfs import PlannedMount, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kedge.runtime.namespaces import HostIds


class Prepared(NamedTuple):
    """Detached mounts made with the host's privileges."""

    root_fd: int = -1
    sources: Mapping[int, Source] = {}


def open_host_side(
    root_mounts: Sequence[Mount],
    root: str,
    mounts: Sequence[PlannedMount],
    *,
    user_fd: int,
    ids: HostIds,
) -> Prepared:
    """Move to a mount namespace to throw away, and return what was opened in it.

    Args:
        root_mounts: The mounts that make the root file system, or nothing.
        root: The root file system when there are none.
        mounts: The container's mounts, of which the binds are opened.
        user_fd: The user namespace the container will be in.
        ids: What its root is on the host.

    Raises:
        NotSupportedError: The kernel or the file system has no id-mapped mounts, or there are
            several root mounts.
    """
    if len(root_mounts) > 1:
        raise NotSupportedError("a user namespace with several rootfs mounts is not supported")
    ns.unshare(ns.CLONE_NEWNS)
    rootfs.isolate_propagation("")
    # A bind of the user's that lies among the layers must not be mapped with them.
    sources = rootfs.open_sources(mounts)
    stacks = {
        position: (Mount(mount.kind, mount.spec.source, mount.spec.options), mount.options)
        for position, mount in enumerate(mounts)
        if mount.kind == "overlay"
    }
    bases = [(mount, parse_mount_options(mount.options)) for mount in root_mounts]
    mapped = [each for each in (*bases, *stacks.values()) if each[1].idmap]
    if mapped:
        _map_directory(os.path.commonpath([common_directory(*each) for each in mapped]), user_fd)

    def open_all() -> int:
        root_fd = -1 if bases else clone_mount(root, recursive=True)
        for each in bases:
            root_fd = _open_mount(*each)
        for position, each in stacks.items():
            sources[position] = Source(_open_mount(*each), classic=False)
        return root_fd

    if not mapped:
        return Prepared(open_all(), sources)
    with acting_as(ids.uid, ids.gid):
        return Prepared(open_all(), sources)


def _open_mount(mount: Mount, options: MountOptions) -> int:
    if mount.type != "bind" and not options.bind:
        return new_filesystem(mount.type, mount.source, options)
    fd = clone_mount(mount.source, recursive=options.recursive_bind)
    change_attributes(fd, options)
    return fd


def common_directory(mount: Mount, options: MountOptions) -> str:
    """Return the lowest directory that everything ``mount`` is made of lies in.

    Raises:
        InvalidParameterError: It is made of nothing that can be id-mapped.
    """
    places: list[str] = [mount.source] if mount.type == "bind" or options.bind else []
    for key, value in options.data:
        if key in ("lowerdir", "lowerdir+") and value:
            places.extend(_split_at_colons(value))
        elif key in ("upperdir", "workdir") and value:
            places.append(value)
    if not places or not all(os.path.isabs(place) for place in places):
        raise InvalidParameterError(f"a root file system of type {mount.type} cannot be id-mapped")
    return os.path.commonpath(places)


def _split_at_colons(layers: str) -> list[str]:
    """Return the parts between colons that no backslash is in front of."""
    parts = [""]
    for piece in layers.split(":"):
        if parts[-1].endswith("\\"):
            parts[-1] += f":{piece}"
        else:
            parts.append(piece)
    return parts[1:]


def _map_directory(path: str, user_fd: int) -> None:
    """Put an id-mapped mount of ``path`` over ``path``, in this mount namespace alone."""
    fd = clone_mount(path, recursive=False)
    try:
        lm.mount_setattr(fd, attr_set=lm.MOUNT_ATTR_IDMAP, userns_fd=user_fd)
        lm.move_mount(fd, lm.AT_FDCWD, path)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            raise NotSupportedError(
                f"a user namespace needs id-mapped mounts, which this kernel (Linux 5.19 has them) "
                f"or the file system of {path} does not have: use the host's with --userns=host"
            ) from error
        raise refusal(f"cannot map the ids of {path}", error) from error
    finally:
        os.close(fd)
