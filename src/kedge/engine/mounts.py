"""``-v``, ``--mount``, ``--tmpfs`` and ``VOLUME``: from Docker's forms to mount plans. Pure.

Grammar, order and messages are those of moby's ``volume/mounts/linux_parser.go``; id-mapped binds
(``idmap``) are Podman's. Whether a source exists is asked by `kedge.engine.mounting`.
"""

import posixpath
from collections.abc import Iterable, Sequence
from typing import Final

from kedge.api.types.config import HostConfig, Mount
from kedge.engine.idmaps import parse_id_map
from kedge.engine.mountplan import MountPlan
from kedge.engine.propagation import PROPAGATIONS
from kedge.engine.tmpfs import mount_tmpfs_options, parse_tmpfs_options
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.volumes.model import LOCAL

_MODE_GROUPS: Final = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
)
_IDMAP: Final = "idmap"
_OPTION_FIELDS: Final = {
    "bind": ("BindOptions", "bind_options"),
    "volume": ("VolumeOptions", "volume_options"),
    "image": ("ImageOptions", "image_options"),
    "tmpfs": ("TmpfsOptions", "tmpfs_options"),
}


def parse_mounts(
    host: HostConfig,
    *,
    volumes: Iterable[str] = (),
    inherited: Sequence[MountPlan] = (),
) -> list[MountPlan]:
    """Return the mounts of a container; later kinds replace what was inherited.

    Args:
        host: ``Binds``, ``Mounts``, ``Tmpfs`` and ``VolumeDriver`` are read.
        volumes: Places of anonymous volumes: ``-v /path`` and the image's ``VOLUME``.
        inherited: Mounts of other containers (``--volumes-from``).

    Raises:
        InvalidParameterError: A malformed value or two mounts on one path, with Docker's text.
        NotSupportedError: A kind of mount this engine does not have.
    """
    tmpfs = {posixpath.normpath(path) for path in host.tmpfs}
    for options in host.tmpfs.values():
        parse_tmpfs_options(options)
    own: dict[str, MountPlan] = {}
    for plan in (
        *(parse_bind(value, volume_driver=host.volume_driver) for value in host.binds),
        *(parse_mount(mount) for mount in host.mounts),
    ):
        if plan.destination in own or plan.destination in tmpfs:
            raise InvalidParameterError(f"Duplicate mount point: {plan.destination}")
        own[plan.destination] = plan
    found = {plan.destination: plan for plan in inherited}
    found.update(own)
    for path in sorted(volumes):
        plan = _anonymous(path, host.volume_driver)
        if plan.destination not in found and plan.destination not in tmpfs:
            found[plan.destination] = plan
    return list(found.values())


def parse_bind(value: str, *, volume_driver: str = "") -> MountPlan:
    """Return the mount of one ``-v`` value.

    Raises:
        InvalidParameterError: It is malformed.
    """
    parts = value.split(":")
    invalid = f"invalid volume specification: '{value}'"
    if len(parts) > 3 or not parts[0] or (len(parts) == 2 and _is_mode(parts[1])):
        raise InvalidParameterError(invalid)
    source, destination = ("", parts[0]) if len(parts) == 1 else parts[:2]
    mode = parts[2] if len(parts) == 3 else ""
    if not _is_mode(mode) and mode:
        raise InvalidParameterError(f"invalid mode: {mode}")
    words, id_map = _split_mode(mode)
    kind = "bind" if source.startswith("/") else "volume"
    try:
        _check_destination(destination, kind)
        if kind == "volume" and not source and "ro" in words:
            raise _invalid(kind, "must not set ReadOnly mode when using anonymous volumes")
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{invalid}: {error}") from None
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if kind == "bind":
        return MountPlan(
            kind="bind",
            source=posixpath.normpath(source),
            destination=_clean(destination),
            mode=mode,
            is_writable="ro" not in words,
            propagation=propagation or "rprivate",
            creates_source=True,
            id_map=id_map,
        )
    if propagation or id_map:
        name, option = ("BindOptions", propagation) if propagation else (_IDMAP, id_map)
        detail = f"field {name} must not be specified ({option} is for binds)"
        raise InvalidParameterError(f"{invalid}: {_invalid(kind, detail)}")
    return MountPlan(
        kind="volume",
        name=source,
        is_anonymous=not source,
        driver=volume_driver or LOCAL,
        destination=_clean(destination),
        # Docker notes the label a local volume would be shared under.
        mode=mode or "z",
        is_writable="ro" not in words,
        copies_image="nocopy" not in words,
    )


def _anonymous(path: str, volume_driver: str) -> MountPlan:
    try:
        _check_destination(path, "volume")
    except InvalidParameterError as error:
        raise InvalidParameterError(f"invalid volume specification: '{path}': {error}") from None
    return MountPlan(
        kind="volume",
        is_anonymous=True,
        driver=volume_driver or LOCAL,
        destination=_clean(path),
        copies_image=True,
    )


def parse_mount(mount: Mount) -> MountPlan:
    """Return the plan of one ``--mount``.

    Raises:
        InvalidParameterError: It is malformed, with Docker's text.
    """
    kind = mount.type
    if kind in {"npipe", "cluster"}:
        raise NotSupportedError(
            f'mount type "{kind}" is not supported: use bind, volume, tmpfs or image'
        )
    if kind not in _OPTION_FIELDS:
        raise _invalid(kind, "mount type unknown")
    for other, (name, attribute) in _OPTION_FIELDS.items():
        if other != kind and getattr(mount, attribute) is not None:
            raise _invalid(kind, f"field {name} must not be specified")
    if not mount.target:
        raise _invalid(kind, "field Target must not be empty")
    _check_destination(mount.target, kind)
    match kind:
        case "bind":
            return _bind(mount)
        case "volume":
            return _volume(mount)
        case "image":
            return _image(mount)
        case _:
            return _tmpfs(mount)


def _bind(mount: Mount) -> MountPlan:
    options = mount.bind_options
    if not mount.source:
        raise _invalid("bind", "field Source must not be empty")
    if not mount.source.startswith("/"):
        raise _invalid("bind", _not_absolute(mount.source))
    plan = MountPlan(
        kind="bind",
        source=posixpath.normpath(mount.source),
        destination=_clean(mount.target),
        is_writable=not mount.read_only,
        propagation="rprivate",
    )
    if options is None:
        return plan
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {options.propagation}")
    plan.propagation = options.propagation or "rprivate"
    plan.creates_source = options.create_mountpoint
    plan.is_recursive = not options.non_recursive
    if options.read_only_non_recursive or options.read_only_force_recursive:
        name = "NonRecursive" if options.read_only_non_recursive else "ForceRecursive"
        if options.read_only_non_recursive and options.read_only_force_recursive:
            raise _invalid(
                "bind", "ReadOnlyNonRecursive and ReadOnlyForceRecursive cannot both be set"
            )
        if not mount.read_only:
            raise _invalid("bind", f"ReadOnly{name} needs the mount to be ReadOnly")
        plan.readonly_below = "never" if options.read_only_non_recursive else "must"
    if plan.readonly_below == "must" and plan.propagation != "rprivate":
        raise _invalid("bind", "ReadOnlyForceRecursive needs the propagation rprivate")
    if options.id_map:
        parse_id_map(options.id_map)
        plan.id_map = options.id_map
    return plan


def _volume(mount: Mount) -> MountPlan:
    options = mount.volume_options
    if not mount.source and mount.read_only:
        raise _invalid("volume", "must not set ReadOnly mode when using anonymous volumes")
    plan = MountPlan(
        kind="volume",
        name=mount.source,
        is_anonymous=not mount.source,
        driver=LOCAL,
        destination=_clean(mount.target),
        mode="z",
        is_writable=not mount.read_only,
        copies_image=True,
    )
    if options is None:
        return plan
    if options.subpath:
        if not mount.source:
            raise _invalid("volume", "must not set Subpath when using anonymous volumes")
        plan.subpath = _check_subpath("volume", options.subpath)
    plan.copies_image = not options.no_copy
    plan.volume_labels = options.labels
    if options.driver_config is not None:
        plan.driver = options.driver_config.name or LOCAL
        plan.volume_options = options.driver_config.options
    return plan


def _image(mount: Mount) -> MountPlan:
    if not mount.source:
        raise _invalid("image", "field Source must not be empty")
    options = mount.image_options
    subpath = _check_subpath("image", options.subpath) if options and options.subpath else ""
    return MountPlan(
        kind="image",
        source=mount.source,
        destination=_clean(mount.target),
        is_writable=False,
        subpath=subpath,
    )


def _tmpfs(mount: Mount) -> MountPlan:
    if mount.source:
        raise _invalid("tmpfs", "field Source must not be specified")
    try:
        options = mount_tmpfs_options(mount.tmpfs_options)
    except InvalidParameterError as error:
        raise _invalid("tmpfs", str(error)) from None
    return MountPlan(
        kind="tmpfs",
        destination=_clean(mount.target),
        is_writable=not mount.read_only,
        options=options,
    )


def _is_mode(mode: str) -> bool:
    """Whether every word is known and no two of them say the same thing."""
    words = mode.split(",")
    seen: set[int] = set()
    for word in words:
        group = next((at for at, names in enumerate(_MODE_GROUPS) if word in names), -1)
        if group < 0 and word.partition("=")[0] == _IDMAP:
            group = len(_MODE_GROUPS)
        if group < 0 or group in seen:
            return False
        seen.add(group)
    return True


def _split_mode(mode: str) -> tuple[list[str], str]:
    """Return the words of a mode and what ``idmap=`` says.

    Raises:
        InvalidParameterError: A mapping makes no sense.
    """
    words = [word for word in mode.split(",") if word]
    maps = [word for word in words if word.partition("=")[0] == _IDMAP]
    id_map = ""
    if maps:
        id_map = maps[0].partition("=")[2]
        parse_id_map(id_map)
    return words, id_map


def _check_destination(path: str, kind: str) -> None:
    if posixpath.normpath(path) in {"/", "//"}:
        raise _invalid(kind, "invalid specification: destination can't be '/'")
    if not path.startswith("/"):
        raise _invalid(kind, _not_absolute(path))
    if "\0" in path:
        raise _invalid(kind, "a path cannot have a NUL byte")


def _check_subpath(kind: str, path: str) -> str:
    clean = posixpath.normpath(path)
    if path.startswith("/") or clean == ".." or clean.startswith("../"):
        raise _invalid(kind, f"subpath must be a relative path within the {kind}")
    return clean


def _clean(path: str) -> str:
    # POSIX leaves two leading slashes alone.
    return "/" + posixpath.normpath(path).lstrip("/")


def _not_absolute(path: str) -> str:
    return f"invalid mount path: '{path}' mount path must be absolute"


def _invalid(kind: str, detail: str) -> InvalidParameterError:
    return InvalidParameterError(f'invalid mount config for type "{kind}": {detail}')
