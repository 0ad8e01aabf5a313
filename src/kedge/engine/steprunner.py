"""RUN steps of a build: a short-lived container without a record.

The builder works in a thread and waits there; everything below runs on the engine's loop. A step
that a crash leaves behind is found at the next start, because its bundle's folder has no record.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

from kedge.api.types.config import ContainerConfig, HostConfig
from kedge.builder.steps import StepResult, StepSpec
from kedge.engine.context import EngineContext
from kedge.engine.devices import plan_devices
from kedge.engine.ending import end_shim
from kedge.engine.process import (
    NetworkFiles,
    cgroup_path,
    lookup_user,
    security_of,
    write_bundle,
)
from kedge.engine.spec import BindMount, SpecInput
from kedge.engine.userns import NO_MAPS, mapped_rootfs
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.network import files as network_files
from kedge.network import model
from kedge.shim.client import Shim
from kedge.shim.messages import CreateRequest

_CHUNK: Final = 65536
_HEADER: Final = 8
_CANCEL_POLL_S: Final = 0.1
_RETRY_S: Final = 1.0


class EngineStepRunner:
    """Satisfies the builder's ``StepRunner``; `run` is called from the builder's threads."""

    def __init__(self, context: EngineContext, loop: asyncio.AbstractEventLoop) -> None:
        """Run steps with ``context``'s spawner and network on ``loop``."""
        self._context = context
        self._loop = loop
        self._late: set[asyncio.Task[None]] = set()

    def run(
        self,
        spec: StepSpec,
        on_output: Callable[[str, bytes], None],
        cancel: threading.Event,
    ) -> StepResult:
        """Run ``spec`` to its end; nothing of it is left behind."""
        future = asyncio.run_coroutine_threadsafe(self._run(spec, on_output, cancel), self._loop)
        return future.result()

    async def _run(
        self,
        spec: StepSpec,
        on_output: Callable[[str, bytes], None],
        cancel: threading.Event,
    ) -> StepResult:
        context = self._context
        async with contextlib.AsyncExitStack() as undo:
            directory = context.paths.shim_dir(spec.container_id)
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            os.mkdir(directory, mode=0o711)
            own_netns = spec.network != "host"
            endpoint = await self._endpoint(spec, undo) if own_netns else None
            plan = self._plan(spec, directory, endpoint)
            write_bundle(directory, plan)
            uids, gids = plan.id_maps or NO_MAPS
            shim = await context.spawner.create(
                CreateRequest(
                    id=spec.container_id,
                    bundle=directory,
                    run_dir=directory,
                    cgroup_path=cgroup_path(spec.container_id),
                    rootfs=mapped_rootfs(spec.rootfs, plan.id_maps),
                    own_netns=own_netns,
                    uid_mappings=uids,
                    gid_mappings=gids,
                )
            )
            undo.push_async_callback(end_shim, shim)
            if own_netns:
                await context.run_network(
                    lambda: context.network.connect(
                        spec.container_id, netns_fd=shim.netns_fd, rtnl_fd=shim.rtnl_fd
                    )
                )
                shim.close_netns()
            created = await shim.wait_created()
            stream = await shim.attach(stdin=False, stdout=True, stderr=True)
            # A start may fail, and a shim stays until its clients have hung up.
            undo.callback(stream.close)
            await shim.start()
            watcher = asyncio.create_task(_kill_when(cancel, shim))
            undo.callback(watcher.cancel)
            await _read_output(stream, on_output)
            status = await shim.wait()
            return StepResult(
                exit_code=status.exit_code, created_mountpoints=created.created_mountpoints
            )

    async def _endpoint(self, spec: StepSpec, undo: contextlib.AsyncExitStack) -> model.Endpoint:
        context = self._context
        network = context.network.get("none" if spec.network == "none" else "bridge")
        undo.push_async_callback(self._release, spec.container_id)
        return await context.run_network(
            lambda: context.network.create_endpoint(spec.container_id, network.id)
        )

    async def _release(self, container_id: str) -> None:
        try:
            await self._remove_endpoint(container_id)
        except SystemFailureError:
            # The disk is full, of this very step perhaps, which shall say how it ended.
            task = asyncio.create_task(self._release_later(container_id))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _release_later(self, container_id: str) -> None:
        while True:
            await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(SystemFailureError):
                return await self._remove_endpoint(container_id)

    async def _remove_endpoint(self, container_id: str) -> None:
        network = self._context.network
        await self._context.run_network(lambda: network.remove_endpoint(container_id))

    def _plan(self, spec: StepSpec, directory: str, endpoint: model.Endpoint | None) -> SpecInput:
        files = NetworkFiles(directory)
        settings = self._context.settings
        ends = (endpoint.ipv4, endpoint.ipv6) if endpoint else ()
        addresses = [str(item.ip) for item in ends if item is not None]
        extra = [
            (name, address) for name, _, address in (h.partition(":") for h in spec.extra_hosts)
        ]
        files.write(
            hostname=spec.hostname,
            hosts=network_files.hosts(spec.hostname, "", addresses, extra),
            resolv_conf=network_files.resolv_conf(
                dns=settings.dns,
                search=settings.dns_search,
                options=settings.dns_opts,
                own_namespace=endpoint is not None,
            ),
        )
        host_config = HostConfig(privileged=spec.is_insecure)
        layers = _layer_directories(spec)
        user = lookup_user(layers, spec.user, [])
        env = spec.env
        if not any(item.startswith("HOME=") for item in env):
            env = (*env, f"HOME={user.home}")
        return SpecInput(
            container_id=spec.container_id,
            config=ContainerConfig(hostname=spec.hostname),
            host_config=host_config,
            args=spec.args,
            env=env,
            cwd=spec.cwd,
            user=user,
            security=security_of(host_config),
            devices=plan_devices(host_config),
            cgroup_path=cgroup_path(spec.container_id),
            binds=(
                *files.binds(),
                *(
                    BindMount(
                        source=mount.source,
                        destination=mount.destination,
                        options=mount.options,
                        kind=mount.type,
                        own=mount.type == "bind",
                    )
                    for mount in spec.mounts
                ),
            ),
            network_namespace="" if endpoint is not None else None,
            # A step in the host's network cannot be kept from the host by a user namespace, and
            # one that asked for all rights would not have them in it.
            id_maps=None if endpoint is None or spec.is_insecure else settings.id_maps,
        )


def _layer_directories(spec: StepSpec) -> tuple[str, ...]:
    """Return the directories of the step's root file system, top first."""
    layers: list[str] = []
    for mount in spec.rootfs:
        for option in mount.options:
            key, _, value = option.partition("=")
            if key in {"upperdir", "lowerdir+"}:
                layers.append(value)
            elif key == "lowerdir":
                layers.extend(value.split(":"))
        if mount.type == "bind":
            layers.append(mount.source)
    return tuple(layers)


async def _kill_when(cancel: threading.Event, shim: Shim) -> None:
    # The event belongs to the builder's thread, so it can only be looked at now and then.
    while not cancel.is_set():  # noqa: ASYNC110
        await asyncio.sleep(_CANCEL_POLL_S)
    with contextlib.suppress(KedgeError):
        await shim.kill(signal.SIGKILL, all=True)


async def _read_output(stream: socket.socket, on_output: Callable[[str, bytes], None]) -> None:
    """Take the frames of ``stream`` apart until it ends."""
    loop = asyncio.get_running_loop()
    pending = bytearray()
    with stream:
        while chunk := await loop.sock_recv(stream, _CHUNK):
            pending += chunk
            while len(pending) >= _HEADER:
                length = int.from_bytes(pending[4:8], "big")
                if len(pending) < _HEADER + length:
                    break
                payload = bytes(pending[_HEADER : _HEADER + length])
                name = "stderr" if pending[0] == 2 else "stdout"
                del pending[: _HEADER + length]
                # Taking it may wait for a slow client, whom this very loop serves.
                await asyncio.to_thread(on_output, name, payload)
