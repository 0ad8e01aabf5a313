"""Images on the wire: list, inspect, history, delete, prune. Vocabulary: moby `api/types/image`."""

from msgspec import UNSET, UnsetType, field

from kedge.api.types.config import HealthConfig
from kedge.api.types.container import GraphDriver
from kedge.api.types.wire import (
    Empty,
    StrSlice,
    Wire,
    shown_dict,
    shown_list,
    shown_null,
    zero_time,
)


class ImageSummary(Wire):
    """One line of ``GET /images/json``; -1 stands for a count or size nobody asked for."""

    containers: int = field(default_factory=lambda: -1)
    created: int = field(default_factory=int)
    id: str = field(default_factory=str)
    labels: dict[str, str] = shown_dict()
    parent_id: str = field(default_factory=str)
    repo_digests: list[str] = shown_list()
    repo_tags: list[str] = shown_list()
    shared_size: int = field(default_factory=lambda: -1)
    size: int = field(default_factory=int)
    virtual_size: int = 0


class ImageConfig(Wire):
    """The defaults an image gives to its containers; until API 1.52 shown where unset, too."""

    user: str = field(default_factory=str)
    exposed_ports: dict[str, Empty] = field(default_factory=dict)
    env: list[str] | None = field(default_factory=shown_null)
    entrypoint: StrSlice = field(default_factory=shown_null)
    cmd: StrSlice = field(default_factory=shown_null)
    volumes: dict[str, Empty] | None = field(default_factory=shown_null)
    working_dir: str = field(default_factory=str)
    labels: dict[str, str] | None = field(default_factory=shown_null)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: HealthConfig | None = None
    on_build: list[str] | None = field(default_factory=shown_null)
    shell: StrSlice = None


class LegacyImageConfig(ImageConfig):
    """An image's defaults among fields that only a container can have, which are all empty.

    For clients before API 1.50, which had both in one structure.
    """

    hostname: str = field(default_factory=str)
    domainname: str = field(default_factory=str)
    attach_stdin: bool = field(default_factory=bool)
    attach_stdout: bool = field(default_factory=bool)
    attach_stderr: bool = field(default_factory=bool)
    tty: bool = field(default_factory=bool)
    open_stdin: bool = field(default_factory=bool)
    stdin_once: bool = field(default_factory=bool)
    image: str = field(default_factory=str)


class RootFS(Wire):
    """The uncompressed layers of an image by diff_id, bottom first."""

    type: str = field(default_factory=lambda: "layers")
    layers: list[str] = field(default_factory=list)


class ImageMetadata(Wire):
    """What this engine remembers about an image; RFC 3339."""

    last_tag_time: str = field(default_factory=zero_time)


class ImageInspect(Wire):
    """``GET /images/{name}/json``; the id is the digest of the image's config."""

    id: str = field(default_factory=str)
    repo_tags: list[str] = shown_list()
    repo_digests: list[str] = shown_list()
    parent: str = field(default_factory=str)
    comment: str = field(default_factory=str)
    created: str = ""
    docker_version: str = field(default_factory=str)
    author: str = field(default_factory=str)
    config: ImageConfig = field(default_factory=ImageConfig)
    container: str | UnsetType = UNSET
    container_config: ImageConfig | None = None
    """For clients before API 1.45, which had the build's last container and its configuration."""
    architecture: str = field(default_factory=str)
    variant: str = ""
    os: str = field(default_factory=str)
    os_version: str = ""
    size: int = field(default_factory=int)
    virtual_size: int = 0
    graph_driver: GraphDriver = field(default_factory=GraphDriver)
    root_fs: RootFS = field(name="RootFS", default_factory=RootFS)
    metadata: ImageMetadata = field(default_factory=ImageMetadata)


class HistoryItem(Wire):
    """One step of an image's history, newest first; unknown ids are ``<missing>``."""

    id: str = field(default_factory=str)
    created: int = field(default_factory=int)
    created_by: str = field(default_factory=str)
    tags: list[str] | None = shown_list()
    size: int = field(default_factory=int)
    comment: str = field(default_factory=str)


class ImageDeleteItem(Wire):
    """One thing a removal did: a reference untagged or an image deleted."""

    untagged: str = ""
    deleted: str = ""


class ImagesPruneResponse(Wire):
    """The images a prune removed and the bytes it freed."""

    images_deleted: list[ImageDeleteItem] = shown_list()
    space_reclaimed: int = field(default_factory=int)


class CommitResponse(Wire):
    """The image a commit made."""

    id: str = field(default_factory=str)


class LayerBlob(Wire):
    """A layer of an image as it is stored; kedge's own."""

    digest: str = field(default_factory=str)
    size: int = field(default_factory=int)


class LayerDigests(Wire):
    """Layers by their digests; kedge's own."""

    digests: list[str] = shown_list()
