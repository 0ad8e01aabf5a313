"""Want of memory in a running container: an ``oom`` event and ``State.OOMKilled`` when it happens.

The kernel often kills another process than the container's first, and the container lives on. Who
has no limit of its own cannot run out of it and is not watched.
"""

import asyncio
from contextlib import suppress

from kedge.engine.announce import announce
from kedge.engine.containers import Container
from kedge.engine.context import EngineContext
from kedge.errdefs import KedgeError
from kedge.runtime.cgroups import make_cgroup
from kedge.runtime.cgroups.oom_alarm import OomAlarm


class OomWatch:
    """Watches the memory of running containers that have a limit."""

    def __init__(self, context: EngineContext) -> None:
        """Watch nobody yet."""
        self._context = context
        self._alarms: dict[str, OomAlarm] = {}

    def watch(self, container: Container) -> None:
        """Watch ``container`` until `leave`, if it runs and is limited; again changes nothing.

        Where the kernel has no such watch, the end of the container still tells of its own death.
        """
        limit, shim = container.record.host_config.memory, container.shim
        if limit <= 0 or shim is None or container.id in self._alarms:
            return
        with suppress(OSError, KedgeError):
            alarm = OomAlarm(make_cgroup(shim.cgroup_path).directories())
            self._alarms[container.id] = alarm
            asyncio.get_running_loop().add_reader(alarm.fd, self._tell, container, alarm)

    def leave(self, container: Container) -> None:
        """Stop watching a container that has ended."""
        alarm = self._alarms.pop(container.id, None)
        if alarm is not None:
            asyncio.get_running_loop().remove_reader(alarm.fd)
            alarm.close()

    def _tell(self, container: Container, alarm: OomAlarm) -> None:
        if not alarm.take() or not container.record.alive:
            return
        if not container.record.oom_killed:
            container.record.oom_killed = True
            with suppress(KedgeError):
                container.save()
        announce(self._context, container, "oom")
