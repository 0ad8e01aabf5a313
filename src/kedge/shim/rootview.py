"""A stopped container's root with everything mounted in it, for as long as the engine looks at it.

The process that would have become a shim makes a mount namespace, mounts the layers and the
container's binds there, and hands the engine a descriptor of the root. All reading and writing is
the engine's, through that descriptor. When the engine hangs up, or dies, this process ends, and the
kernel takes the mounts away with the namespace; nothing is ever mounted on the host.
"""

import os
from socket import SHUT_RDWR, send_fds, socket
from typing import Final, NamedTuple

from kedge.errdefs import KedgeError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.linux import namespaces as ns
from kedge.oci import fields
from kedge.oci.mounts import Mount
from kedge.oci.runtime_spec.types import IdMapping
from kedge.shim.framing import encode_frame
from kedge.shim.messages import (
    encode_failure,
    encode_mappings,
    encode_mount,
    parse_mapping,
    parse_mount,
)

_KEY: Final = "view"
_PLACES: Final = ("/mnt", "/tmp", "/run")  # noqa: S108 - covered in a namespace of our own


class ViewMount(NamedTuple):
    """A mount inside, shown with other ids than the disk has where mappings say so."""

    mount: Mount
    uid_mappings: tuple[IdMapping, ...] = ()
    """Ids on disk, as ``container_id``, and the ids they are shown with."""
    gid_mappings: tuple[IdMapping, ...] = ()


class ViewRequest(NamedTuple):
    """What is to be mounted."""

    rootfs: tuple[Mount, ...]
    mounts: tuple[ViewMount, ...] = ()
    """Parents before children."""


def encode_view(request: ViewRequest) -> JsonObject:
    """Return ``request`` as the first message to a shim that waits."""
    rootfs: list[Json] = [encode_mount(mount) for mount in request.rootfs]
    mounts: list[Json] = [
        {
            "mount": encode_mount(mount),
            "uid_mappings": encode_mappings(uids),
            "gid_mappings": encode_mappings(gids),
        }
        for mount, uids, gids in request.mounts
    ]
    return {_KEY: {"rootfs": rootfs, "mounts": mounts}}


def is_view_request(document: JsonObject) -> bool:
    """Tell a view from a container to be made."""
    return _KEY in document


def show(engine: socket, document: JsonObject) -> int:
    """Serve one view until the engine hangs up; return the exit code of this process."""
    try:
        root = _mount(_parse(document))
    except (KedgeError, OSError) as error:
        engine.sendall(encode_frame({"event": "view_failed", "error": encode_failure(error)}))
        engine.shutdown(SHUT_RDWR)
        return 0
    send_fds(engine, [encode_frame({"event": "view"}, fds=1)], [root])
    os.close(root)
    while engine.recv(1):
        pass
    return 0


def _parse(document: JsonObject) -> ViewRequest:
    view = fields.read_object(document.get(_KEY), _KEY)
    return ViewRequest(
        rootfs=fields.read_list(view, "rootfs", _KEY, parse_mount),
        mounts=fields.read_list(view, "mounts", _KEY, _parse_view_mount),
    )


def _parse_view_mount(item: Json, path: str) -> ViewMount:
    document = fields.read_object(item, path)
    return ViewMount(
        parse_mount(document.get("mount"), path),
        fields.read_list(document, "uid_mappings", path, parse_mapping),
        fields.read_list(document, "gid_mappings", path, parse_mapping),
    )


def _mount(request: ViewRequest) -> int:
    """Return a descriptor of the root with everything in its place."""
    # Imported here: tests run the spawner with a task of their own and no runtime.
    from kedge.oci.runtime_spec.types import SpecMount  # noqa: PLC0415
    from kedge.runtime import rootfs  # noqa: PLC0415
    from kedge.runtime.filesystems import mount_root  # noqa: PLC0415
    from kedge.runtime.namespaces import open_user_namespace  # noqa: PLC0415
    from kedge.runtime.rootpath import RootPath  # noqa: PLC0415

    ns.unshare(ns.CLONE_NEWNS)
    rootfs.isolate_propagation("private")
    planned = rootfs.plan_mounts(
        [
            SpecMount(mount.destination, mount.type, mount.source, mount.options)
            for mount, _, _ in request.mounts
        ],
        "/",
    )
    planned = tuple(
        plan._replace(idmap_fd=open_user_namespace(uids, gids)) if uids and gids else plan
        for plan, (_, uids, gids) in zip(planned, request.mounts, strict=True)
    )
    # Before the root is attached, which covers what was there.
    sources = rootfs.open_sources(planned)
    root = mount_root(request.rootfs, next(place for place in _PLACES if os.path.isdir(place)))
    rootfs.make_mounts(RootPath(root), planned, {}, sources)
    return root
