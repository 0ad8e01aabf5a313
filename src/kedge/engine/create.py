"""``POST /containers/create``: check everything, then make the layer and the record at once."""

import contextlib
import os

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.api.types.container import CreateRequest, CreateResponse
from kedge.engine import ports
from kedge.engine.announce import announce
from kedge.engine.context import EngineContext
from kedge.engine.failures import host_failure
from kedge.engine.linking import settle_links
from kedge.engine.links import parse_link
from kedge.engine.logoptions import settle_log_options
from kedge.engine.logtags import check_tag
from kedge.engine.membership import chosen_macs, initial_networks
from kedge.engine.merge import command_line, merge_config
from kedge.engine.mounting import NewMounts
from kedge.engine.record import ContainerRecord
from kedge.engine.requestchecks import check_request
from kedge.engine.restartpolicy import check_restart_policy
from kedge.engine.userns import check_user_namespace
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.images.image import Image
from kedge.lib.ids import new_id, short_id
from kedge.oci.platforms import parse_platform

_WITHOUT_PORTS = frozenset({"host", "none"})


async def create_container(
    context: EngineContext, request: CreateRequest, *, name: str, platform: str
) -> CreateResponse:
    """Make a container that can be started.

    Nothing is left behind when this raises. The layer and the record appear in one transaction.

    Raises:
        NotFoundError: ``No such image: x:y``, after which the client pulls.
        ConflictError: The name is taken.
        InvalidParameterError: The configuration cannot work.
        NotSupportedError: It asks for what this engine does not do.
    """
    containers = context.containers
    name = name.removeprefix("/")
    if name:
        containers.check_name(name)
    image = _find_image(context, request.image, platform)
    container_id = new_id()
    own = {field: getattr(request, field) for field in ContainerConfig.__struct_fields__}
    config = merge_config(ContainerConfig(**own), image.config.config)
    host = request.host_config
    host.network_mode = host.network_mode or "default"
    # Clients look here for whether they can read the output back.
    host.log_config.type, host.log_config.config = settle_log_options(
        host.log_config.type,
        host.log_config.config or {},
        default_driver=context.settings.log_driver,
        defaults=context.settings.log_opts,
    )
    check_tag(host.log_config.config)
    if not config.hostname:
        shares = host.network_mode == "host" or host.uts_mode == "host"
        config.hostname = os.uname().nodename if shares else short_id(container_id)
    args = command_line(config)
    warnings = check_request(context.settings, request, config)
    check_host_config(host)
    settle_links(context, host)
    check_user_namespace(host, context.settings.id_maps)
    warnings += _publish_warnings(context, config, host)
    networks = initial_networks(
        host.network_mode, request.networking_config.endpoints_config, context.network.try_get
    )
    mounts = NewMounts(context, container_id)
    record = ContainerRecord(
        id=container_id,
        name=name or containers.new_name(),
        created_ns=context.clock.time_ns(),
        image_id=image.id,
        path=args[0],
        args=args[1:],
        config=config,
        host_config=host,
        networks=networks,
        mac_addresses=chosen_macs(networks, config.mac_address),
    )
    if image.chain_id and not context.snapshots.exists(image.chain_id):
        # A power cut may have taken layers that were not flushed; their blobs are still here.
        await context.run_blocking(lambda: context.images.unpack(image))
    try:
        await mounts.prepare(host, config, image)
        record.mount_plans, record.mounts = mounts.plans, mounts.shown()
        # Nothing may have taken the name while a volume was filled.
        containers.check_name(record.name)
        _make(context, record, image, mounts)
        mounts.created()
    finally:
        mounts.undo()
    announce(context, containers.add(record), "create")
    return CreateResponse(id=container_id, warnings=warnings)


def _publish_warnings(
    context: EngineContext, config: ContainerConfig, host: HostConfig
) -> list[str]:
    """Return what the host's firewall means for the ports, which are checked by the way."""
    published = ports.published_ports(config, host)
    if not published or host.network_mode in _WITHOUT_PORTS:
        return []
    return context.network.publish_warnings([binding.host_ip for _port, binding in published])


def _make(context: EngineContext, record: ContainerRecord, image: Image, mounts: NewMounts) -> None:
    """Make layer, record and folder; a disk that is full has none of them afterwards."""
    directory = context.paths.container_dir(record.id)
    try:
        os.mkdir(directory, mode=0o710)
        # Either may turn out to be what commits, and so what fails.
        with mounts.publishing(), context.database.transaction():
            context.snapshots.prepare(record.snapshot_key, image.chain_id or None)
            _mark(context.snapshots.diff_path(record.snapshot_key))
            context.containers.store.save(record)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        if isinstance(error, OSError):
            raise host_failure(error) from error
        raise


def _mark(root: str) -> None:
    """Make the file by which programs know that they are in a container, never through a link."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(f"{root}/.dockerenv", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))


def _find_image(context: EngineContext, reference: str, platform: str) -> Image:
    if not reference:
        raise InvalidParameterError("no image specified: name one, such as busybox")
    image = context.images.resolve(reference)
    if platform:
        wanted = parse_platform(platform).normalized()
        here = image.config.image_platform().normalized()
        if (here.os, here.architecture) != (wanted.os, wanted.architecture):
            raise NotFoundError(
                f"No such image: {reference}: image with reference {reference} was found but its "
                f"platform ({here}) does not match the specified platform ({wanted})"
            )
    return image


def check_host_config(host: HostConfig) -> None:
    """Raise unless the restart policy and the links of ``host`` can work.

    Raises:
        InvalidParameterError: A value that can never work, with Docker's text.
    """
    check_restart_policy(host.restart_policy, auto_remove=host.auto_remove)
    for link in host.links or ():
        parse_link(link)
