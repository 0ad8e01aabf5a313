"""What a container gets when nobody says otherwise: Docker's defaults, as data.

Sources: moby's ``oci/defaults.go`` and ``oci/caps/defaults.go``.
"""

from typing import Final

from kedge.linux import capabilities

OWN_RUNTIME: Final = "kedge"

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

ALL_CAPABILITIES: Final = capabilities.NAMES

DEVICE_RULES: Final = (
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, -1, "rwm"),
)
"""Type, major, minor, access; -1 is any. Everything else is denied."""

SHM_SIZE_BYTES: Final = 64 * 1024 * 1024
STOP_TIMEOUT_S: Final = 10
STOP_SIGNAL: Final = "SIGTERM"

MOUNT_STUBS: Final = frozenset(
    {"proc", "sys", "dev", "dev/pts", "dev/shm", "dev/console", ".dockerenv"}
    | {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
)
"""What a start makes in a root without them, to mount on; Docker keeps these in a layer of their
own, so they are no changes of the container's."""
