"""Options of ``--tmpfs`` and ``--mount type=tmpfs``, and Docker's defaults. Pure."""

from collections.abc import Sequence
from typing import Final

from kedge.api.types.config import TmpfsOptions
from kedge.errdefs import InvalidParameterError

DEFAULTS: Final = ("noexec", "nosuid", "nodev")
_FLAGS: Final = frozenset(
    {
        "defaults", "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async",
        "dirsync", "remount", "mand", "nomand", "atime", "noatime", "diratime", "nodiratime",
        "relatime", "norelatime", "strictatime", "nostrictatime", "bind", "rbind", "private",
        "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
    }
)  # fmt: skip
_VALUES: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
# A new, empty file system is neither bound nor part of a peer group.
_MEANINGLESS: Final = frozenset({"remount", "bind", "rbind"})


def parse_tmpfs_options(text: str) -> list[str]:
    """Return the options of one ``--tmpfs``.

    Raises:
        InvalidParameterError: An option tmpfs does not have.
    """
    options = [option for option in text.split(",") if option]
    for option in options:
        key, equals, _ = option.partition("=")
        if option not in _FLAGS and not (equals and key in _VALUES):
            raise InvalidParameterError(f'invalid tmpfs option ["{option}"]')
    return [option for option in options if option not in _MEANINGLESS]


def mount_tmpfs_options(options: TmpfsOptions | None) -> list[str]:
    """Return the options of one ``--mount type=tmpfs``.

    Raises:
        InvalidParameterError: A value out of range, or an unknown option.
    """
    if options is None:
        return []
    if options.size_bytes < 0:
        raise InvalidParameterError(f"invalid size {options.size_bytes}: give bytes above 0")
    if not 0 <= options.mode <= 0o7777:
        raise InvalidParameterError(f"invalid mode {options.mode:o}: give octal up to 7777")
    found = parse_tmpfs_options(",".join(_pair(pair) for pair in options.options))
    if options.size_bytes:
        found.append(f"size={options.size_bytes}")
    if options.mode:
        found.append(f"mode={options.mode:o}")
    return found


def _pair(pair: Sequence[str]) -> str:
    if len(pair) not in {1, 2} or any("," in word for word in pair):
        raise InvalidParameterError(f"invalid option array length: {len(pair)}")
    return "=".join(pair)
