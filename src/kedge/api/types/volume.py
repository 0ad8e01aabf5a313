"""Volumes on the wire. Vocabulary: moby `api/types/volume`."""

from msgspec import field

from kedge.api.types.wire import Wire, shown_dict, shown_list, shown_null


class VolumeUsage(Wire):
    """Who uses a volume and how large it is; -1 where nobody asked."""

    ref_count: int = field(default_factory=lambda: -1)
    size: int = field(default_factory=lambda: -1)


class Volume(Wire):
    """A volume as list and inspect show it."""

    created_at: str = ""
    driver: str = field(default_factory=str)
    labels: dict[str, str] | None = field(default_factory=shown_null)
    mountpoint: str = field(default_factory=str)
    name: str = field(default_factory=str)
    options: dict[str, str] | None = field(default_factory=shown_null)
    scope: str = field(default_factory=lambda: "local")
    usage_data: VolumeUsage | None = None


class VolumeListResponse(Wire):
    """``GET /volumes``."""

    volumes: list[Volume] = shown_list()
    warnings: list[str] | None = field(default_factory=shown_null)


class VolumeCreateRequest(Wire):
    """Body of ``POST /volumes/create``; an empty name makes an anonymous volume."""

    name: str = field(default_factory=str)
    driver: str = field(default_factory=str)
    driver_opts: dict[str, str] = shown_dict()
    labels: dict[str, str] = shown_dict()


class VolumesPruneResponse(Wire):
    """The volumes a prune removed and the bytes it freed."""

    volumes_deleted: list[str] = shown_list()
    space_reclaimed: int = field(default_factory=int)
