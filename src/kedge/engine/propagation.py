"""Whether a bind's source can pass mounts on as ``shared`` and ``slave`` promise.

Source: mount_namespaces(7) and proc(5), "mountinfo". Without this check, a container would wait
for ever for mounts that never come.
"""

import os
import re
from typing import Final

from kedge.errdefs import InvalidParameterError

PROPAGATIONS: Final = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def check_propagation(source: str, mode: str, *, mountinfo: str = "/proc/self/mountinfo") -> None:
    """Raise unless the mount that ``source`` lies on is shared (or a slave) as ``mode`` needs.

    Raises:
        InvalidParameterError: Docker's text.
    """
    if mode.removeprefix("r") not in {"shared", "slave"}:
        return
    real = os.path.realpath(source)
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as stream:
        place, tags = find_mount(real, stream.read())
    is_shared = any(tag.startswith("shared:") for tag in tags)
    if mode.endswith("shared") and not is_shared:
        raise InvalidParameterError(
            f"path {source} is mounted on {place} but it is not a shared mount"
        )
    if not is_shared and not any(tag.startswith("master:") for tag in tags):
        raise InvalidParameterError(
            f"path {source} is mounted on {place} but it is not a shared or slave mount"
        )


def find_mount(path: str, mountinfo: str) -> tuple[str, list[str]]:
    """Return where the mount is that ``path`` lies on, and its optional fields."""
    place, tags = "/", list[str]()
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # The last of several on one place is on top.
        if inside and len(point) >= len(place):
            place, tags = point, fields[6 : fields.index("-")]
    return place, tags
