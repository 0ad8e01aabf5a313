"""The config.json that `kedge-runtime spec` writes: a shell with Docker's usual confinement."""

from __future__ import annotations

import os

from kedge.lib.hints import TYPE_CHECKING
from kedge.oci.confinement import MASKED_PATHS, READONLY_PATHS
from kedge.oci.fields import read_object
from kedge.runtime.features import SPEC_VERSION

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


_CAPABILITIES: Final = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOUNTS: Final = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    (
        "/dev/shm",  # noqa: S108 - a mount in the container
        "tmpfs",
        "shm",
        ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
    ),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
_NAMESPACES: Final = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def rootless_document() -> JsonObject:
    """Return a spec for a user without privileges, who is root in it (``--rootless``).

    The host's network is kept and its /sys bound, for neither can be made; and there are no limits.
    """
    document = spec_document()
    linux = read_object(document["linux"], "linux")
    del linux["resources"]
    kinds = ("pid", "ipc", "uts", "mount", "cgroup", "user")
    linux["namespaces"] = [{"type": name} for name in kinds]
    for name, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        linux[name] = [{"containerID": 0, "hostID": own, "size": 1}]
    document["mounts"] = [
        _mount(destination, kind, source, tuple(each for each in options if each != "gid=5"))
        for destination, kind, source, options in _MOUNTS
        if destination != "/sys"
    ] + [_mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "rro"))]
    return document


def _mount(destination: str, kind: str, source: str, options: tuple[str, ...]) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": [*options]}


def spec_document() -> JsonObject:
    """Return a complete spec to start from."""
    capabilities: JsonObject = {
        name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")
    }
    mounts: list[Json] = [_mount(*each) for each in _MOUNTS]
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [_PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": capabilities,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "kedge",
        "mounts": mounts,
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in _NAMESPACES],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }
