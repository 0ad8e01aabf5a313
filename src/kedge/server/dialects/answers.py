"""Answers in the words of older API versions. Pure.

A field that came later is left out where the version history says so, and one that went since is
there again. What is given may share parts with the engine's own records, so those are never
changed: what differs is a copy.
"""

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from kedge.api.types.config import EndpointSettings, LegacyHostConfig
from kedge.api.types.container import ContainerInspect, ContainerSummary
from kedge.api.types.image import ImageInspect, ImageSummary, LegacyImageConfig
from kedge.api.types.system import BuildCacheRecord, Commit, DiskUsage, Info
from kedge.api.types.wire import ZERO_TIME
from kedge.api.versions import ApiVersion

_ID_DIGITS = 12
_PREDEFINED = frozenset({"bridge", "host", "none"})


def show_container(shown: ContainerInspect, version: ApiVersion) -> ContainerInspect:
    """Return an inspected container as a client of ``version`` expects it."""
    if version >= (1, 45):
        return shown
    if version < (1, 42):
        shown = replace(shown, host_config=LegacyHostConfig(**asdict(shown.host_config)))
    # The short id was one of the names a user had "given".
    extra = [shown.id[:_ID_DIGITS], shown.config.hostname]
    networks = {
        name: settings if name in _PREDEFINED else _with_aliases(settings, extra)
        for name, settings in shown.network_settings.networks.items()
    }
    return replace(shown, network_settings=replace(shown.network_settings, networks=networks))


def _with_aliases(settings: EndpointSettings, extra: Sequence[str]) -> EndpointSettings:
    names = [name for name in (*(settings.aliases or ()), *extra) if name]
    return replace(settings, aliases=list(dict.fromkeys(names)))


def list_containers(
    listed: Sequence[ContainerSummary], version: ApiVersion
) -> Sequence[ContainerSummary]:
    """Return listed containers as a client of ``version`` expects them."""
    if version >= (1, 46):
        return listed
    return [replace(item, host_config=replace(item.host_config, annotations={})) for item in listed]


def show_image(shown: ImageInspect, version: ApiVersion) -> ImageInspect:
    """Return an inspected image as a client of ``version`` expects it."""
    if version < (1, 50):
        shown = replace(shown, config=LegacyImageConfig(**asdict(shown.config)))
    if version < (1, 45):
        shown = replace(shown, container="", container_config=shown.config)
    if version < (1, 44):
        created = shown.created or ZERO_TIME
        shown = replace(shown, virtual_size=shown.size, created=created)
    return shown


def list_images(listed: Sequence[ImageSummary], version: ApiVersion) -> Sequence[ImageSummary]:
    """Return listed images as a client of ``version`` expects them."""
    # compat: how many containers use an image is told to clients before API 1.51, too.
    return [_older_image(item, version) for item in listed]


def _older_image(image: ImageSummary, version: ApiVersion) -> ImageSummary:
    if version < (1, 44):
        image = replace(image, virtual_size=image.size)
    if version < (1, 43) and not image.repo_tags and not image.repo_digests:
        image = replace(image, repo_tags=["<none>:<none>"], repo_digests=["<none>@<none>"])
    return image


def show_info(info: Info, version: ApiVersion) -> Info:
    """Return the engine's state as a client of ``version`` expects it."""
    if version >= (1, 50):
        return info
    info = replace(info, discovered_devices=[], bridge_nf_iptables=False, bridge_nf_ip6tables=False)
    if version < (1, 49):
        info = replace(
            info,
            firewall_backend=None,
            containerd_commit=_expected(info.containerd_commit),
            runc_commit=_expected(info.runc_commit),
            init_commit=_expected(info.init_commit),
            registry_config=replace(
                info.registry_config,
                allow_nondistributable_artifacts_cidrs=[],
                allow_nondistributable_artifacts_hostnames=[],
            ),
        )
    if version < (1, 42):
        info = replace(info, kernel_memory=False, kernel_memory_tcp=False)
    if version < (1, 39):
        info = replace(
            info,
            kernel_version=info.kernel_version or "<unknown>",
            operating_system=info.operating_system or "<unknown>",
        )
    if version < (1, 25):
        # name=seccomp,profile=builtin was just seccomp.
        names = [text.partition(",")[0].removeprefix("name=") for text in info.security_options]
        info = replace(info, execution_driver="<not supported>", security_options=names)
    return info


def _expected(commit: Commit) -> Commit:
    return replace(commit, expected=commit.id)


def show_disk_usage(usage: DiskUsage, version: ApiVersion) -> DiskUsage:
    """Return what takes how much space as a client of ``version`` expects it."""
    if usage.containers is not None:
        usage = replace(usage, containers=list(list_containers(usage.containers, version)))
    if usage.images is not None:
        usage = replace(usage, images=[_older_image(item, version) for item in usage.images])
    if version < (1, 42) and usage.build_cache is not None:
        size = sum(item.size for item in usage.build_cache)
        records = [_older_record(item) for item in usage.build_cache]
        usage = replace(usage, build_cache=records, builder_size=size)
    return usage


def _older_record(record: BuildCacheRecord) -> BuildCacheRecord:
    return replace(record, parents=[], parent=record.parents[0] if record.parents else "")
