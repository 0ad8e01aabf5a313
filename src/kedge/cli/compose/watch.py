"""``kedge compose watch``: take changes of files over into running services, until interrupted."""

import contextlib
import json
import sys
import threading
from functools import partial
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.up import bring_up, rebuild
from kedge.cli.compose.watching import Watcher
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch
from kedge.client.hosts import Host
from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.compose.watchrules import rules_of


def _run(options: Options, client: EngineClient) -> int:
    app = open_application(options, options.words)
    rules = rules_of(app, app.checked(options.words))
    quiet = ("--quiet-build",) if options.on("quiet") else ()
    if not options.on("no-up"):
        code = bring_up(options, client, ["--build", *quiet, *options.words])
        if code:
            return code

    watcher = Watcher(
        app,
        EngineClient(client.host),
        rules,
        note=_note,
        rebuild=partial(_rebuild, options, client.host, app.name),
    )
    watcher.start()
    watcher.run(threading.Event())
    return OK


def _rebuild(options: Options, host: Host, project: str, service: str) -> None:
    rebuild(options, host, service)
    if options.on("prune"):
        # The image before this one has lost its name.
        filters = {"dangling": ["true"], "label": [f"{labels.PROJECT}={project}"]}
        with contextlib.closing(EngineClient(host)) as client:
            client.post("/images/prune", {"filters": json.dumps(filters)}).read()


def _note(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Take changes of files over into running services as their 'develop.watch' says",
    flags=(
        switch("no-up", "Do not build and start services first"),
        switch("prune", "Remove the images that rebuilds replace", default=True),
        switch("quiet", "Hide what the first build prints"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose watch", "Build, start and watch everything"),
        ("kedge compose watch --no-up web", "Watch one service that runs"),
    ),
    complete="service",
)
