"""What a container gets of the host beyond its files: devices, CDI edits, an init.

One look-up for each start, so that a device that came or went is seen as it is then.
"""

from dataclasses import dataclass, field

from kedge.api.types.config import HostConfig
from kedge.engine.cdi import Injection, inject, load_registry, select_devices
from kedge.engine.context import EngineContext
from kedge.engine.devices import NO_DEVICES, DevicePlan, plan_devices
from kedge.engine.initprogram import INSIDE, find_init
from kedge.engine.spec import BindMount
from kedge.lib.jsontypes import Json, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Additions to a container's specification."""

    devices: DevicePlan = NO_DEVICES
    env: tuple[str, ...] = ()
    binds: tuple[BindMount, ...] = ()
    additional_gids: tuple[int, ...] = ()
    hooks: JsonObject = field(default_factory=dict[str, Json])
    wrapper: tuple[str, ...] = ()
    """Words to put before the container's own command line."""


def plan_extras(context: EngineContext, host: HostConfig) -> Extras:
    """Return what ``host`` asks for.

    Raises:
        SystemFailureError: A device or the init program is not there, with Docker's text.
    """
    devices = plan_devices(host)
    wrapper, init_binds = _plan_init(context, host)
    edits = Injection()
    if host.device_requests:
        registry = load_registry(context.settings.cdi_spec_dirs)
        names = select_devices(host.device_requests, registry)
        edits = inject(names, registry, privileged=host.privileged)
    nodes = {str(node["path"]): node for node in (*devices.nodes, *edits.nodes)}
    return Extras(
        devices=DevicePlan(nodes=tuple(nodes.values()), rules=(*devices.rules, *edits.rules)),
        env=tuple(edits.env),
        binds=(
            *init_binds,
            *(
                BindMount(
                    source=mount.host_path,
                    destination=mount.container_path,
                    options=tuple(mount.options) or ("rbind", "rprivate", "ro"),
                )
                for mount in edits.mounts
            ),
        ),
        additional_gids=tuple(edits.additional_gids),
        hooks={name: list[Json](entries) for name, entries in edits.hooks.items()},
        wrapper=wrapper,
    )


def _plan_init(
    context: EngineContext, host: HostConfig
) -> tuple[tuple[str, ...], tuple[BindMount, ...]]:
    wanted = context.settings.init if host.init is None else host.init
    # In a pid namespace of somebody else's, orphans go to its first process.
    if not wanted or host.pid_mode not in {"", "private"}:
        return (), ()
    bind = BindMount(
        source=find_init(context.settings.init_path), destination=INSIDE, options=("bind", "ro")
    )
    return (INSIDE, "--"), (bind,)
