"""From a container's record to its bundle: users looked up, files written, ``config.json`` made.

`prepare_bundle` reads the image's layers and writes below the container's own folders; nothing is
mounted or started here.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

from kedge.api.types.config import HostConfig
from kedge.archive.layered import LayerStack
from kedge.engine import sharing
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.engine.devices import plan_block_io
from kedge.engine.extras import plan_extras
from kedge.engine.kernelfacts import read_facts
from kedge.engine.merge import merge_env, process_env
from kedge.engine.seccompfile import Circumstances, convert_profile
from kedge.engine.security import SecurityOptions, parse_security
from kedge.engine.spec import BindMount, SpecInput, make_spec
from kedge.engine.userns import mapping_for, shared_user_namespace
from kedge.engine.users import ResolvedUser, resolve_user
from kedge.errdefs import InvalidParameterError, UnavailableError
from kedge.lib import hostcerts
from kedge.lib.jsontypes import Json

CGROUP_PARENT: Final = "kedge"
HOST_CERTS_ANNOTATION: Final = "org.kedge.host-certs"


class NetworkFiles:
    """The three files Docker keeps for a container, as paths on the host."""

    def __init__(self, directory: str) -> None:
        """Name the files below ``directory``."""
        self.hostname = os.path.join(directory, "hostname")
        self.hosts = os.path.join(directory, "hosts")
        self.resolv_conf = os.path.join(directory, "resolv.conf")

    def write(self, *, hostname: str, hosts: str, resolv_conf: str) -> None:
        """Write all three; they may be lost with a power cut, like the container."""
        for path, text in (
            (self.hostname, f"{hostname}\n"),
            (self.hosts, hosts),
            (self.resolv_conf, resolv_conf),
        ):
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)

    def binds(self, *, read_only: bool = False) -> tuple[BindMount, ...]:
        """Return the mounts that show them in the container, whose root may be read-only."""
        options = ("rbind", "rprivate", "ro") if read_only else ("rbind", "rprivate")
        return tuple(
            BindMount(source=source, destination=destination, options=options, own=True)
            for source, destination in (
                (self.resolv_conf, "/etc/resolv.conf"),
                (self.hostname, "/etc/hostname"),
                (self.hosts, "/etc/hosts"),
            )
        )


def is_cgroup_v2() -> bool:
    """Whether this host has the unified hierarchy alone."""
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def cgroup_path(container_id: str, parent: str = "") -> str:
    """Return the cgroup of a container or build step, below each controller's root."""
    return f"{parent.strip('/') or CGROUP_PARENT}/{container_id}"


def lookup_user(layers: tuple[str, ...], user: str, group_add: list[str]) -> ResolvedUser:
    """Return the ids ``user`` stands for in the image whose layers, top first, are given.

    Raises:
        NotFoundError: A name the image does not have.
    """
    if not group_add and user in {"", "0", "root", "0:0", "root:root"} and not layers:
        return ResolvedUser()
    with LayerStack(layers) as stack:
        passwd, group = (
            (stack.read_file(path) or b"").decode("utf-8", "replace")
            for path in ("/etc/passwd", "/etc/group")
        )
    return resolve_user(user, passwd=passwd, group=group, group_add=group_add)


def _with_home(env: tuple[str, ...], home: str) -> tuple[str, ...]:
    return env if any(item.startswith("HOME=") for item in env) else (*env, f"HOME={home}")


def container_spec_input(
    context: EngineContext,
    container: Container,
    *,
    files: NetworkFiles,
    mounts: Sequence[BindMount],
    network_namespace: str | None,
    links: Sequence[str] = (),
) -> SpecInput:
    """Look up everything the specification of ``container`` needs.

    Args:
        context: The engine.
        container: What is to be started.
        files: What it sees of its network.
        mounts: What `kedge.engine.mountspecs` opened.
        network_namespace: Path to join, ``""`` for one of its own, None for the host's.
        links: Variables that describe linked containers.

    Raises:
        KedgeError: A user the image does not have, or another container's namespace that is gone.
    """
    record = container.record
    config, host = record.config, record.host_config
    layers = context.snapshots.layer_paths(record.snapshot_key)
    user = lookup_user(layers, config.user, host.group_add)
    extras = plan_extras(context, host)
    user = user._replace(
        additional_gids=tuple(dict.fromkeys((*user.additional_gids, *extras.additional_gids)))
    )
    env = _with_home((*merge_env(links, process_env(config)), *extras.env), user.home)
    binds = [
        *files.binds(read_only=host.readonly_rootfs),
        *mounts,
        *sharing.shared_memory(context, host.ipc_mode),
        *extras.binds,
    ]
    if host.annotations.get(HOST_CERTS_ANNOTATION, "").lower() in {"1", "true"}:
        bundle = hostcerts.find_host_bundle()
        if bundle is None:
            raise UnavailableError(
                "--host-certs: this host has no CA bundle: install ca-certificates"
            )
        binds.append(
            BindMount(source=bundle, destination=hostcerts.CONTAINER_PATH, options=("bind", "ro"))
        )
        env = tuple(hostcerts.with_host_certs(env))
    ipc = sharing.ipc_namespace(context, host.ipc_mode)
    pid = sharing.pid_namespace(context, host.pid_mode)
    id_maps = mapping_for(host, context.settings.id_maps)
    joined = (network_namespace, ipc, pid) if id_maps is not None else ()
    return SpecInput(
        container_id=record.id,
        config=config,
        host_config=host,
        args=(*extras.wrapper, record.path, *record.args),
        env=env,
        cwd=config.working_dir or "/",
        user=user,
        security=security_of(host),
        cgroup_path=cgroup_path(record.id, host.cgroup_parent),
        binds=tuple(binds),
        network_namespace=network_namespace,
        ipc_namespace=ipc,
        pid_namespace=pid,
        cgroup_v2=is_cgroup_v2(),
        devices=extras.devices,
        block_io=plan_block_io(host),
        hooks=extras.hooks,
        id_maps=id_maps,
        user_namespace=shared_user_namespace(joined),
    )


def security_of(host: HostConfig, *, privileged: bool = False) -> SecurityOptions:
    """Return what the processes of a container may do here.

    Args:
        host: The container's flags.
        privileged: An exec session asks for everything.
    """
    options = parse_security(
        host.security_opt,
        cap_add=host.cap_add or (),
        cap_drop=host.cap_drop or (),
        privileged=privileged or host.privileged,
    )
    if options.apparmor_profile and not read_facts().apparmor:
        # The client was warned of it when the container was created.
        options = replace(options, apparmor_profile="")
    if options.seccomp_profile is None:
        return options
    uname = os.uname()
    major, minor = (int(part) for part in uname.release.split("-")[0].split(".")[:2])
    here = Circumstances(
        machine=uname.machine, kernel=(major, minor), capabilities=options.capabilities
    )
    return replace(options, seccomp_profile=convert_profile(options.seccomp_profile, here))


def namespace_of(context: EngineContext, reference: str, kind: str) -> str:
    """Return the path of a running container's namespace.

    Raises:
        NotFoundError: No such container.
        InvalidParameterError: It does not run.
    """
    other = context.containers.get(reference)
    if not other.record.alive:
        raise InvalidParameterError(
            f"cannot join {kind} namespace of a non running container: {other.id}"
        )
    return f"/proc/{other.record.pid}/ns/{kind}"


def bundle_cgroup(directory: str, container_id: str) -> str:
    """Return the cgroup a bundle was written for, which its container may have left behind."""
    document = _try_read_json(os.path.join(directory, "config.json"))
    linux = document.get("linux") if isinstance(document, dict) else None
    path = linux.get("cgroupsPath") if isinstance(linux, dict) else None
    return path if isinstance(path, str) and path else cgroup_path(container_id)


def _try_read_json(path: str) -> Json:
    try:
        with open(path, "rb") as stream:
            return cast("Json", json.loads(stream.read()))
    except (OSError, ValueError):
        return None


def write_bundle(directory: str, plan: SpecInput) -> None:
    """Make the OCI bundle at ``directory``; it is made anew with each start."""
    os.makedirs(os.path.join(directory, "rootfs"), mode=0o755, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "wb") as stream:
        # Not json.dump: writing piece by piece, it does without the encoder in C.
        stream.write(json.dumps(make_spec(plan)).encode())
