"""``up`` in the foreground: start, show what containers print, and stop them when asked.

The first Ctrl-C (or SIGTERM) stops everything as it wants to be stopped, the second kills it. When
every container has ended, so does the command.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from kedge.cli.compose.logprinter import LogPrinter
from kedge.cli.compose.progress import Progress
from kedge.client.http import EngineClient
from kedge.client.signals import LOOK_S
from kedge.compose.events import Event, Status
from kedge.compose.executor import Cancel, execute
from kedge.compose.following import Exited, Finished, Follower, Lost, Started, exit_code
from kedge.compose.lifecycle import plan_stop
from kedge.compose.observed import Container, list_containers, observe
from kedge.compose.perform import Performer
from kedge.compose.stage import Stage
from kedge.compose.steps import Plan, PrepareService, StartContainer, Step, WaitFor
from kedge.errdefs import ConflictError, KedgeError, NotFoundError, UnavailableError
from kedge.lib.fields import text

INTERRUPTED: Final = 130


class AttachedWishes(NamedTuple):
    """What the command line asks for."""

    services: frozenset[str]
    """Services whose output is shown."""
    watched: frozenset[str]
    """Services whose end is waited for."""
    abort_on_exit: bool = False
    abort_on_failure: bool = False
    exit_code_from: str = ""
    timeout_s: int | None = None
    parallel: int = -1


def split_plan(plan: Plan) -> tuple[Plan, Plan]:
    """Return what makes containers, and what starts them."""
    late: set[str] = set()
    for step in plan.steps:
        starts = isinstance(step, (StartContainer, WaitFor, PrepareService))
        if starts or late.intersection(step.needs):
            late.add(step.key)
    first = tuple(step for step in plan.steps if step.key not in late)
    return Plan(first, plan.warnings), Plan(tuple(s for s in plan.steps if s.key in late))


class AttachedRun:
    """One run of ``up`` in the foreground."""

    def __init__(
        self, stage: Stage, performer: Performer, printer: LogPrinter, wishes: AttachedWishes
    ) -> None:
        """Prepare; containers exist, none is started."""
        self._stage = stage
        self._performer = performer
        self._printer = printer
        self._wishes = wishes
        self._follower = Follower(stage.pool, stage.app.name, self._write)
        self._alive: set[str] = set()
        self._cancel = Cancel()
        self._code = 0
        self._aborting = False
        self.on_started: Callable[[], None] | None = None
        """Called when everything has started; with it the run goes on until it is interrupted."""

    def run(self, plan: Plan, client: EngineClient, progress: Progress) -> int:
        """Start what ``plan`` starts and follow it to its end; return the exit code.

        Raises:
            KedgeError: Something does not start, or the engine has gone.
        """
        self._follower.follow_events()
        containers = list_containers(client, self._stage.app.name)
        attached = self._attach_all(containers)
        self._printer.note(f"Attaching to {', '.join(attached)}" if attached else "Attaching to -")
        # Each of them tells its end by an event, as events have been followed since before.
        watched = self._wishes.watched
        self._alive = {
            one.id
            for one in containers
            if one.is_running and not one.oneoff and one.service in watched
        } | {
            step.container or self._stage.id_of(step.name)
            for step in plan.steps
            if isinstance(step, StartContainer) and step.service in watched
        }
        starter = threading.Thread(target=self._start, args=(plan.steps,), daemon=True)
        starter.start()
        try:
            return self._follow(client, progress)
        except KeyboardInterrupt:
            sys.stderr.write("\nGracefully Stopping... press Ctrl+C again to force\n")
            self._cancel.set()
            self._stop_or_kill(client, progress, starter)
            self._drain()
            return INTERRUPTED

    def _attach_all(self, containers: Sequence[Container]) -> list[str]:
        shown = [
            one
            for one in sorted(containers, key=lambda one: one.name)
            if one.service in self._wishes.services and not one.oneoff
        ]
        self._printer.expect([self._shown(one.name) for one in shown])
        for one in shown:
            self._follower.attach(one.id, one.name)
        return [self._shown(one.name) for one in shown]

    def _shown(self, name: str) -> str:
        return name.removeprefix(f"{self._stage.app.name}{self._stage.app.separator}")

    def _write(self, name: str, stream: int, data: bytes) -> None:
        self._printer.write(self._shown(name), stream, data)

    def _start(self, steps: Sequence[Step]) -> None:
        error: BaseException | None = None
        try:
            execute(steps, self._performer, parallel=self._wishes.parallel, cancel=self._cancel)
        except BaseException as failure:  # noqa: BLE001 - raised by the thread that waits
            error = failure
        self._follower.messages.put(Finished(error))

    def _follow(self, client: EngineClient, progress: Progress) -> int:
        starting = True
        while starting or self._alive or self.on_started:
            message = self._follower.next()
            match message:
                case Finished(error):
                    starting = False
                    self._finished(error)
                case Started(container, name, service):
                    if service in self._wishes.watched:
                        self._alive.add(container)
                    shown = service in self._wishes.services
                    if shown and not self._follower.covers(container):
                        self._follower.resume(container, name)
                case Exited():
                    if self._ended(message, client):
                        self._abort(client, progress)
                        break
                case Lost(reason):
                    raise UnavailableError(f"containers may still run: {reason}")
        self._drain()
        return self._final_code()

    def _finished(self, error: BaseException | None) -> None:
        if error is not None:
            raise error
        if self.on_started is not None:
            self.on_started()

    def _ended(self, message: Exited, client: EngineClient) -> bool:
        """Take note of an exit; return whether everything is to stop because of it."""
        self._follower.ended(message.container)
        shown = self._shown(message.name)
        self._printer.end(shown)
        restarting = self._will_restart(message.container, client)
        if message.service in self._wishes.services:
            suffix = " (restarting)" if restarting else ""
            self._printer.note(f"{shown} exited with code {message.code}{suffix}")
        if restarting:
            return False
        self._alive.discard(message.container)
        wishes = self._wishes
        aborts = wishes.abort_on_exit or (wishes.abort_on_failure and message.code != 0)
        if aborts and not self._aborting:
            self._aborting = True
            self._code = message.code
        return self._aborting

    def _will_restart(self, container: str, client: EngineClient) -> bool:
        try:
            record = client.get(f"/containers/{container}/json").object()
        except NotFoundError:
            return False
        return text(record, "State", "Status") in {"restarting", "running"}

    def _abort(self, client: EngineClient, progress: Progress) -> None:
        self._printer.note("Aborting on container exit...")
        self._stop_or_kill(client, progress)

    def _final_code(self) -> int:
        service = self._wishes.exit_code_from
        if not service:
            return self._code
        with self._stage.pool.client() as client:
            containers = observe(client, self._stage.app.name).of_service(service)
        return exit_code(self._stage.pool, containers[0].id) if containers else self._code

    def _drain(self) -> None:
        with self._stage.pool.client() as client, suppress(KedgeError):
            for one in list_containers(client, self._stage.app.name):
                if not one.is_running:
                    self._follower.drain(one.id, 1.0)
                    self._printer.end(self._shown(one.name))

    def _stop_or_kill(
        self, client: EngineClient, progress: Progress, starter: threading.Thread | None = None
    ) -> None:
        """Stop everything; an interrupt meanwhile kills it."""
        self._stage.report = progress.report
        failures: list[KedgeError] = []

        def stop() -> None:
            try:
                if starter is not None:
                    starter.join()
                self._stop_all()
            except KedgeError as error:
                failures.append(error)

        with progress:
            # In a thread, so that the next interrupt need not wait for a container that is deaf.
            stopper = threading.Thread(target=stop, daemon=True)
            stopper.start()
            try:
                while stopper.is_alive():
                    stopper.join(LOOK_S)
            except KeyboardInterrupt:
                self._kill_all(client)
                raise
        if failures:
            raise failures[0]

    def _stop_all(self) -> None:
        app = self._stage.app
        with self._stage.pool.client() as client:
            observed = observe(client, app.name)
        plan = plan_stop(app, observed, observed.services(), self._wishes.timeout_s)
        execute(plan.steps, self._performer, parallel=self._wishes.parallel)

    def _kill_all(self, client: EngineClient) -> None:
        # The connection may have been in the middle of an answer.
        client.close()
        for one in list_containers(client, self._stage.app.name):
            if one.is_running and not one.oneoff:
                with suppress(ConflictError, NotFoundError):
                    client.post(f"/containers/{one.id}/kill").read()


def quiet_starts(progress: Progress, event: Event) -> None:
    """Report only what went wrong: the containers' own output tells the rest."""
    if event.status in {Status.ERROR, Status.WARNING}:
        progress.report(event)
