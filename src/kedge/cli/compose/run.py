"""``kedge compose run``: one command in a new container of a service."""

import os
import secrets
import sys
from collections.abc import Callable
from typing import Final

from kedge.cli.attachedrun import run_attached
from kedge.cli.command import Command
from kedge.cli.compose.converging import IMAGE_FLAGS, check_image_flags, ensure_images, prepare
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import is_set, open_application
from kedge.cli.compose.progress import open_progress
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import carry_out, tell_failure
from kedge.cli.exitcodes import OK, code_of_failed_run
from kedge.cli.flags import Options, UsageError, grouped, many, switch, value
from kedge.cli.options.environment import parse_env, read_key_values, to_map
from kedge.cli.wanted import Wanted
from kedge.client.http import EngineClient, Response
from kedge.client.terminal import is_tty
from kedge.compose.application import Application
from kedge.compose.facts import gather
from kedge.compose.making import create
from kedge.compose.oneoff import RunWishes, oneoff_spec, run_application
from kedge.compose.plan import Wishes, plan_up
from kedge.compose.stage import Stage
from kedge.compose.values import shell_words
from kedge.errdefs import KedgeError


def _run(options: Options, client: EngineClient) -> int:
    check_image_flags(options)
    if options.on("service-ports") and options.given("publish"):
        raise UsageError("--service-ports and --publish are incompatible")
    service, *command = options.words
    app = open_application(options, [service])
    app.checked([service])
    wishes = _wishes(options, command)
    try:
        env = {**app.env, "COMPOSE_PROGRESS": "quiet"} if options.on("quiet") else app.env
        with open_progress(options, env, "run") as progress:
            others = () if options.on("no-deps") else _dependencies(app, service)
            up = _up(options, app, others)._replace(ready_for=service)
            stage, plan = prepare(app, client, options, up, progress)
            carry_out(plan, stage, options, app.env, LateImages())
            if options.on("dry-run"):
                return OK
            container = _create(app, stage, client, options, service, wishes)
    except KedgeError as error:
        return tell_failure(error, client)
    return _start(client, container, options, wishes)


def _dependencies(app: Application, service: str) -> tuple[str, ...]:
    return tuple(name for name in app.with_dependencies([service]) if name != service)


def _up(options: Options, app: Application, services: tuple[str, ...]) -> Wishes:
    return Wishes(
        services=services,
        named=frozenset(services),
        remove_orphans=options.on("remove-orphans"),
        ignore_orphans=is_set(app.env, "COMPOSE_IGNORE_ORPHANS"),
    )


def _create(
    app: Application,
    stage: Stage,
    client: EngineClient,
    options: Options,
    service: str,
    wishes: RunWishes,
) -> str:
    """Make the container, and before it the networks and volumes only it needs; return its id."""
    changed = run_application(app, service, wishes)
    image_ids = ensure_images(stage, client, options, [service])
    facts = gather(client, app, image_ids)
    # What the service needs besides containers, and the waits for what it depends on.
    own = plan_up(changed, facts, Wishes(services=(service,), scale={service: 0}, keep=True))
    carry_out(own._replace(warnings=()), stage, options, app.env, LateImages())
    spec = oneoff_spec(
        changed, service, wishes, slug=secrets.token_hex(32), image_id=image_ids.get(service, "")
    )
    create(stage, spec)
    return stage.id_of(spec.name)


def _wishes(options: Options, command: list[str]) -> RunWishes:
    detach = options.on("detach")
    wants_tty = not options.on("no-tty") and is_tty(1) and is_tty(0)
    stdin = options.on("interactive") and not detach
    given = [parse_env(pair, os.environ.get) for pair in options.texts("env")]
    env = read_key_values(options.texts("env-from-file"), given, os.environ.get)
    entrypoint = None
    if options.given("entrypoint"):
        entrypoint = tuple(shell_words(options.text("entrypoint")))
    return RunWishes(
        command=tuple(command),
        entrypoint=entrypoint,
        environment={
            name: text if equals else None
            for name, equals, text in (pair.partition("=") for pair in env)
        },
        labels=to_map(options.texts("label")),
        name=options.text("name"),
        user=options.text("user"),
        working_dir=options.text("workdir"),
        volumes=tuple(_absolute(given) for given in options.texts("volume")),
        ports=tuple(options.texts("publish")),
        service_ports=options.on("service-ports"),
        use_aliases=options.on("use-aliases"),
        cap_add=tuple(options.texts("cap-add")),
        cap_drop=tuple(options.texts("cap-drop")),
        tty=wants_tty and not detach,
        stdin=stdin,
        remove=options.on("rm"),
        detach=detach,
    )


def _absolute(volume: str) -> str:
    source, colon, rest = volume.partition(":")
    return f"{os.path.abspath(source)}:{rest}" if colon and source.startswith(".") else volume


def _start(client: EngineClient, container: str, options: Options, wishes: RunWishes) -> int:
    def check(finish: Callable[[], Response]) -> int:
        try:
            finish().read()
        except KedgeError as error:
            sys.stderr.write(f"kedge: service {options.words[0]} does not start: {error}\n")
            return code_of_failed_run(str(error))
        return OK

    if wishes.detach:
        code = check(client.begin_post(f"/containers/{container}/start"))
        if code == OK:
            sys.stdout.write(f"{container}\n")
        return code
    wanted = Wanted(wishes.stdin, stdout=True, stderr=True, tty=wishes.tty)
    return run_attached(
        client, container, wanted, remove=wishes.remove, detach_keys="", check_start=check
    )


COMMAND: Final = Command(
    usage="[OPTIONS] SERVICE [COMMAND] [ARG...]",
    summary="Run one command in a new container of a service; its exit code becomes this one's",
    flags=(
        switch("detach", "Run in the background and print the container's id", short="d"),
        switch("rm", "Remove the container at its end"),
        switch("no-tty", "Give the program no terminal", short="T"),
        switch("interactive", "Keep standard input open", short="i", default=True),
        switch("yes", "Answer every question with yes", short="y"),
        switch("no-deps", "Leave services it depends on alone"),
        switch("remove-orphans", "Remove containers of services no file has"),
        *grouped(
            "Container",
            many("env", "NAME=VALUE", "Set an environment variable", short="e"),
            many("env-from-file", "FILE", "Read environment variables from a file"),
            many("label", "NAME=VALUE", "Set a label", short="l"),
            value("name", "NAME", "Name of the container"),
            value("entrypoint", "COMMAND", "Run this in place of the image's entrypoint"),
            value("user", "NAME|UID[:GROUP]", "User the program runs as", short="u"),
            value("workdir", "PATH", "Working directory", short="w"),
            many("volume", "SOURCE:TARGET", "Mount one more volume", short="v"),
            many("publish", "PORTS", "Publish a port", short="p"),
            switch("service-ports", "Publish the service's ports", short="P"),
            switch("use-aliases", "Answer to the service's names on its networks"),
            many("cap-add", "NAME", "Add a capability"),
            many("cap-drop", "NAME", "Drop a capability"),
            switch("quiet", "Without progress", short="q"),
        ),
        *IMAGE_FLAGS,
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose run --rm web python manage.py migrate", "One command, then it is gone"),
        ("kedge compose run --rm --entrypoint sh web", "Look around"),
    ),
    at_least=1,
    runs_program=True,
)
