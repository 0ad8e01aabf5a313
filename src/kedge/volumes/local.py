"""The ``local`` driver: a folder below the data root, or what ``type``, ``device`` and ``o`` mount.

Options and messages are those of moby's local driver: the three are what `mount -t type -o o
device` takes. ``type=none`` with ``o=bind`` is a folder of the host.
"""

from typing import Final

from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.volumes.driver import Location
from kedge.volumes.model import LOCAL, Volume

_OPTIONS: Final = frozenset({"type", "device", "o", "size"})
_NEEDS: Final = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_BIND: Final = frozenset({"bind", "rbind"})


class LocalDriver:
    """Satisfies `VolumeDriver`."""

    @property
    def name(self) -> str:
        """``local``."""
        return LOCAL

    def check_options(self, volume: Volume) -> None:
        """Raise InvalidParameterError unless the options make a mount.

        Raises:
            NotSupportedError: A quota is asked for.
        """
        options = volume.options
        for option in options:
            if option not in _OPTIONS:
                raise InvalidParameterError(f'create {volume.name}: invalid option: "{option}"')
        if "size" in options:
            raise NotSupportedError(
                f"create {volume.name}: quota size requested but no quota support: "
                "use type=tmpfs with o=size=, or a file system of its own"
            )
        for option, needed in _NEEDS.items():
            for other in needed if option in options else ():
                if other not in options:
                    raise InvalidParameterError(
                        f'create {volume.name}: missing required option: "{other}"'
                    )
        if options and _is_bind(volume) and not options["device"].startswith("/"):
            raise InvalidParameterError(
                f"create {volume.name}: device of a bind must be an absolute path, "
                f"not {options['device']}"
            )

    def locate(self, volume: Volume, folder: str) -> Location:
        """Return the volume's folder, the folder it stands for, or its file system."""
        options = volume.options
        if "device" not in options:
            return Location(path=folder, is_own=True)
        words = tuple(word for word in options.get("o", "").split(",") if word)
        if _is_bind(volume):
            rest = tuple(word for word in words if word not in _BIND)
            kind = "rbind" if "rbind" in words else "bind"
            return Location(path=options["device"], options=(kind, *rest))
        return Location(fstype=options["type"], source=options["device"], options=words)


def _is_bind(volume: Volume) -> bool:
    words = volume.options.get("o", "").split(",")
    return volume.options.get("type") in {"none", "bind"} or bool(_BIND.intersection(words))
