"""The loop of ``watch`` and ``up --watch``: look at files, and act when they have settled."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.hooks import run_hooks
from kedge.compose.observed import Container, list_containers
from kedge.compose.watchrules import Action, Change, Rule, Snapshot, compare, look, rules_of
from kedge.compose.watchsync import sync
from kedge.errdefs import KedgeError, UnavailableError

_LOOK_S: Final = 0.2

Note = Callable[[str], None]
Rebuild = Callable[[str], None]


class Watcher:
    """Watches for one command."""

    def __init__(
        self,
        app: Application,
        client: EngineClient,
        rules: list[Rule],
        *,
        note: Note,
        rebuild: Rebuild,
    ) -> None:
        """Prepare.

        Args:
            app: The project.
            client: A connection nobody else uses.
            rules: From `rules_of`.
            note: Tells the user something.
            rebuild: Builds the image of a service and makes its containers anew.
        """
        self._app = app
        self._client = client
        self._rules = rules
        self._note = note
        self._rebuild = rebuild
        self._seen: dict[int, Snapshot] = {}

    def start(self) -> None:
        """Take the files as they are for known; some rules want them in the containers first.

        Raises:
            KedgeError: The engine refuses.
        """
        self._seen = self._look()
        for at, rule in enumerate(self._rules):
            if rule.initial_sync and "sync" in rule.action and self._seen[at]:
                self._sync(rule, Change(tuple(self._seen[at]), ()))
        self._note("Watch enabled")

    def run(self, over: threading.Event) -> None:
        """Act on changes until ``over`` is set.

        Raises:
            UnavailableError: The engine has gone.
        """
        while not over.wait(_LOOK_S):
            now = self._look()
            if now == self._seen:
                continue
            # An editor or a checkout may be in the middle of it.
            while not over.wait(_LOOK_S / 2) and (later := self._look()) != now:
                now = later
            changes = {at: compare(self._seen[at], now[at]) for at in now}
            self._seen = now
            self._act([(self._rules[at], change) for at, change in changes.items() if change])

    def _look(self) -> dict[int, Snapshot]:
        return {at: look(rule) for at, rule in enumerate(self._rules)}

    def _act(self, changes: Sequence[tuple[Rule, Change]]) -> None:
        for service in dict.fromkeys(rule.service for rule, _ in changes):
            mine = [(rule, change) for rule, change in changes if rule.service == service]
            try:
                self._act_on(service, mine)
            except UnavailableError:
                raise
            except KedgeError as error:
                # The next change may be the one that mends it.
                self._note(f"service {service}: {error}")

    def _act_on(self, service: str, changes: Sequence[tuple[Rule, Change]]) -> None:
        if any(rule.action is Action.REBUILD for rule, _ in changes):
            # The image has everything the other rules would bring.
            self._note(f"Rebuilding service {service} after changes were detected...")
            self._rebuild(service)
            self._note(f"service {service} successfully built")
            return
        restarts = False
        for rule, change in changes:
            if rule.action is not Action.RESTART:
                self._sync(rule, change)
            if rule.action is Action.SYNC_EXEC:
                for one in self._containers(service):
                    run_hooks(self._client, one.id, service, "watch", [rule.hook])
            restarts |= rule.action in {Action.RESTART, Action.SYNC_RESTART}
        if restarts:
            for one in self._containers(service):
                self._client.post(f"/containers/{one.id}/restart").read()
            self._note(f"service {service} restarted")

    def _sync(self, rule: Rule, change: Change) -> None:
        count = len(change.written) + len(change.removed)
        self._note(f'Syncing service "{rule.service}" after {count} changes were detected')
        sync(self._client, self._containers(rule.service), rule, change)

    def _containers(self, service: str) -> list[Container]:
        return [
            one
            for one in list_containers(self._client, self._app.name)
            if one.service == service and one.is_running and not one.oneoff
        ]


def watch_beside(
    app: Application, client: EngineClient, services: list[str], *, note: Note, rebuild: Rebuild
) -> Callable[[], None]:
    """Return what begins to watch in a thread of its own, which ends with the process.

    Raises:
        NotFoundError: None of the services is to be watched.
        InvalidParameterError: A rule cannot be followed.
    """
    watcher = Watcher(app, client, rules_of(app, services), note=note, rebuild=rebuild)

    def watch() -> None:
        try:
            watcher.start()
            watcher.run(threading.Event())
        except (KedgeError, OSError) as error:
            note(f"Watch ended: {error}")

    return threading.Thread(target=watch, daemon=True).start
