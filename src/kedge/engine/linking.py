"""``--link`` on the default bridge: what the ends of a link are told, and ``rm --link``.

A link is kept in its container's ``HostConfig.Links`` as the other's id and an alias, so that it
holds through renames; `shown_links` spells it as Docker does. On networks of the user's own a link
is a name in the embedded name server and nothing else (`kedge.engine.naming`).
"""

from collections.abc import Callable, Iterator

from kedge.api.types.config import HostConfig
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.links import parse_link
from kedge.engine.linkvariables import (
    LinkedContainer,
    host_names,
    hosts_without,
    link_variables,
    moved_hosts,
)
from kedge.engine.membership import DEFAULT_NETWORK
from kedge.engine.ports import parse_port, published_ports
from kedge.engine.process import NetworkFiles
from kedge.errdefs import ConflictError, InvalidParameterError, NotFoundError, SystemFailureError

_DEFAULT_MODES = frozenset({"", "default", DEFAULT_NETWORK})


def settle_links(context: EngineContext, host: HostConfig) -> None:
    """Note the ids of the containers that are linked to.

    Raises:
        InvalidParameterError: No such container, or one on the host's network; Docker's texts.
    """
    if not host.links or host.network_mode not in _DEFAULT_MODES:
        return
    settled: list[str] = []
    for text in host.links:
        target, alias = parse_link(text)
        try:
            other = context.containers.get(target)
        except NotFoundError as error:
            # Not a 404, after which clients would pull the image and try again.
            raise InvalidParameterError(f"could not get container for {target}: {error}") from None
        if other.record.host_config.network_mode == "host":
            raise InvalidParameterError(
                "conflicting options: host type networking can't be used with links. This would "
                "result in undefined behavior"
            )
        settled.append(f"{other.id}:{alias if alias != target else other.name}")
    host.links = settled


def linked_env(context: EngineContext, container: Container) -> list[str]:
    """Return the variables a container is started with for its links.

    Raises:
        SystemFailureError: A linked container does not run, with Docker's text.
    """
    variables: list[str] = []
    for other, alias in _links(context, container):
        if not other.record.alive:
            raise SystemFailureError(
                f"Cannot link to a non running container: /{other.name} AS "
                f"/{container.name}/{alias}"
            )
        variables.extend(link_variables(container.name, _describe(other, alias)))
    return variables


def linked_hosts(context: EngineContext, container: Container) -> list[tuple[str, str]]:
    """Return names and address of each running container that is linked to."""
    found = [_describe(other, alias) for other, alias in _links(context, container)]
    return [(host_names(each), each.address) for each in found if each.address]


def tell_linking(context: EngineContext, container: Container) -> None:
    """Write the address of a container that has started to those that are linked to it."""
    for parent in context.containers:
        # Few have links; this is asked of every container at every start.
        if not parent.record.host_config.links or not parent.record.alive:
            continue
        for other, alias in _links(context, parent):
            if other is container:
                linked = _describe(other, alias)
                _rewrite(
                    context,
                    parent,
                    lambda text, linked=linked: moved_hosts(  # type: ignore[misc]
                        text, host_names(linked), linked.address
                    ),
                )


def unlink(context: EngineContext, reference: str) -> Container:
    """Take away the link ``parent/alias``; return the container that had it.

    Raises:
        ConflictError: It is the name of a container.
        NotFoundError: No such container or link.
    """
    parent, _, alias = reference.strip("/").partition("/")
    if not alias:
        raise ConflictError("conflict, cannot remove the default link name of the container")
    try:
        container = context.containers.get(parent)
    except NotFoundError:
        raise NotFoundError(f"cannot get parent /{parent} for link name {reference}") from None
    gone = [(other, name) for other, name in _links(context, container) if name == alias]
    if not gone:
        raise NotFoundError(f"No such link: {reference}")
    host = container.record.host_config
    host.links = [text for text in host.links if parse_link(text)[1] != alias]
    container.save(durable=True)
    if container.record.alive:
        names = [host_names(_describe(other, alias)) for other, alias in gone]
        _rewrite(context, container, lambda text: hosts_without(text, names))
    return container


def shown_links(context: EngineContext, container: Container) -> list[str]:
    """Return the links as inspect shows them: ``/other:/container/alias``."""
    if container.record.host_config.network_mode not in _DEFAULT_MODES:
        return list(container.record.host_config.links)
    return [
        f"/{other.name}:/{container.name}/{alias}" for other, alias in _links(context, container)
    ]


def link_names(context: EngineContext) -> dict[str, list[str]]:
    """Return, by container, the names that links give it: ``web/store``."""
    names: dict[str, list[str]] = {}
    for parent in context.containers:
        if parent.record.host_config.links:
            for other, alias in _links(context, parent):
                names.setdefault(other.id, []).append(f"{parent.name}/{alias}")
    return names


def _links(context: EngineContext, container: Container) -> Iterator[tuple[Container, str]]:
    host = container.record.host_config
    if host.network_mode not in _DEFAULT_MODES:
        return
    for text in host.links or ():
        target, alias = parse_link(text)
        if target in context.containers:
            yield context.containers.get(target), alias


def _describe(other: Container, alias: str) -> LinkedContainer:
    record = other.record
    bridge = record.networks.get(DEFAULT_NETWORK)
    ports = {parse_port(text) for text in record.config.exposed_ports}
    ports |= {port for port, _ in published_ports(record.config, record.host_config)}
    return LinkedContainer(
        alias=alias,
        name=record.name,
        hostname=record.config.hostname,
        address=bridge.ip_address if bridge is not None else "",
        ports=tuple(ports),
        env=tuple(record.config.env),
    )


def _rewrite(context: EngineContext, container: Container, change: Callable[[str], str]) -> None:
    """Change a hosts file in place: the container sees it by its inode."""
    path = NetworkFiles(context.paths.container_dir(container.id)).hosts
    with open(path, "r+", encoding="utf-8") as stream:
        text = change(stream.read())
        stream.seek(0)
        stream.write(text)
        stream.truncate()
