"""``-v``, ``--mount`` and ``--tmpfs``: from Docker's forms to the mounts of a container. Pure.

Named and anonymous volumes belong to the volume store, which comes with the volume commands; until
then a bind mount or a tmpfs is what can be asked for, and anything else is refused by name.
"""

from typing import Final

from kedge.api.types.config import HostConfig, Mount
from kedge.api.types.container import MountPoint
from kedge.errdefs import InvalidParameterError, NotSupportedError

_PROPAGATION: Final = frozenset(
    {"private", "rprivate", "shared", "rshared", "slave", "rslave"}
)  # fmt: skip
_MODES: Final = _PROPAGATION | {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}


def parse_mounts(host: HostConfig) -> list[MountPoint]:
    """Return the mount points of a container, in the order in which they were given.

    Args:
        host: ``Binds``, ``Mounts`` and ``Tmpfs`` are read.

    Raises:
        InvalidParameterError: A malformed value or two mounts on one path, with Docker's text.
        NotSupportedError: A kind of mount this engine does not have.
    """
    points = [_parse_bind(value) for value in host.binds]
    points.extend(_parse_mount(mount) for mount in host.mounts)
    seen = set(host.tmpfs)
    for point in points:
        if point.destination in seen:
            raise InvalidParameterError(f"Duplicate mount point: {point.destination}")
        seen.add(point.destination)
    return points


def _parse_bind(value: str) -> MountPoint:
    parts = value.split(":")
    if len(parts) not in {2, 3} or not all(parts):
        if len(parts) == 1:
            raise _no_volumes(value)
        raise InvalidParameterError(f"invalid volume specification: '{value}'")
    source, destination = parts[0], parts[1]
    modes = parts[2].split(",") if len(parts) == 3 else []
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown:
        raise InvalidParameterError(f"invalid mode: {unknown[0]}")
    if not source.startswith("/"):
        raise _no_volumes(source)
    propagation = next((mode for mode in modes if mode in _PROPAGATION), "rprivate")
    return MountPoint(
        type="bind",
        source=source,
        destination=_check_destination(destination, value),
        mode=",".join(modes),
        rw="ro" not in modes,
        propagation=propagation,
    )


def _parse_mount(mount: Mount) -> MountPoint:
    destination = _check_destination(mount.target, mount.target)
    match mount.type:
        case "bind":
            if not mount.source.startswith("/"):
                raise InvalidParameterError(
                    f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' "
                    "mount path must be absolute"
                )
            options = mount.bind_options
            return MountPoint(
                type="bind",
                source=mount.source,
                destination=destination,
                rw=not mount.read_only,
                propagation=(options.propagation if options else "") or "rprivate",
            )
        case "tmpfs":
            return MountPoint(type="tmpfs", destination=destination, rw=not mount.read_only)
        case "volume":
            raise _no_volumes(mount.source or mount.target)
        case _:
            raise NotSupportedError(
                f'mount type "{mount.type}" is not supported: use bind or tmpfs'
            )


def _check_destination(path: str, value: str) -> str:
    if not path.startswith("/"):
        raise InvalidParameterError(
            f"invalid volume specification: '{value}': invalid mount config for type \"bind\": "
            f"invalid mount path: '{path}' mount path must be absolute"
        )
    clean = path.rstrip("/")
    if not clean:
        raise InvalidParameterError(
            f"invalid volume specification: '{value}': "
            "invalid specification: destination can't be '/'"
        )
    return clean


def _no_volumes(name: str) -> NotSupportedError:
    return NotSupportedError(
        f'volume "{name}": named and anonymous volumes are not supported yet: '
        "mount a host folder with -v /path:/path, or a --tmpfs"
    )
