"""``kedge compose up``: build, create and start everything the files describe."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.converging import (
    CONVERGE_FLAGS,
    check_converge_flags,
    converge_verb,
    prepare,
    wishes_of,
)
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import open_application, parallel_limit
from kedge.cli.compose.progress import open_progress
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import carry_out, tell_failure, warn_of_crashed
from kedge.cli.compose.timeouts import TIMEOUT_FLAG, timeout_s
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, grouped, integer, many, read_options, switch, value
from kedge.client.hosts import Host
from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.decisions import Recreate
from kedge.compose.perform import Performer
from kedge.compose.plan import Wishes
from kedge.errdefs import KedgeError, SystemFailureError

_ONLY_ATTACHED: Final = (
    *(
        "watch",
        "abort-on-container-exit",
        "abort-on-container-failure",
        "attach",
        "attach-dependencies",
    ),
)


def _run(options: Options, client: EngineClient) -> int:
    _check(options)
    app = open_application(options, options.words)
    wishes = wishes_of(options, app, options.words, dependencies=not options.on("no-deps"))
    wishes = wishes._replace(
        renew_volumes=options.on("renew-anon-volumes"),
        timeout_s=timeout_s(options),
        start=not options.on("no-start"),
        wait=options.on("wait"),
        wait_timeout_s=options.integer("wait-timeout"),
    )
    if options.on("always-recreate-deps"):
        wishes = wishes._replace(recreate_dependencies=Recreate.FORCE)
    in_background = any(options.on(name) for name in ("detach", "wait", "no-start", "dry-run"))
    if in_background:
        code = converge_verb(app, client, options, wishes, "up")
        if code == OK and wishes.start and not options.on("dry-run"):
            warn_of_crashed(app, client, wishes.services)
        return code
    try:
        return _run_attached(app, client, options, wishes)
    except KedgeError as error:
        return tell_failure(error, client)


def _check(options: Options) -> None:
    check_converge_flags(options)
    if options.on("always-recreate-deps") and options.on("no-recreate"):
        raise UsageError("--always-recreate-deps and --no-recreate are incompatible")
    if options.on("abort-on-container-exit") and options.on("abort-on-container-failure"):
        raise UsageError(
            "cannot combine --abort-on-container-exit and --abort-on-container-failure"
        )
    for name in ("detach", "wait"):
        clashing = [one for one in (*_ONLY_ATTACHED, "exit-code-from") if options.given(one)]
        if options.on(name) and clashing:
            raise UsageError(f"--{name} cannot be combined with --{clashing[0]}")


def _run_attached(app: Application, client: EngineClient, options: Options, wishes: Wishes) -> int:
    from kedge.cli.compose.attached import (  # noqa: PLC0415 - not with -d
        AttachedRun,
        AttachedWishes,
        quiet_starts,
        split_plan,
    )
    from kedge.cli.compose.logprinter import LogPrinter, wants_color  # noqa: PLC0415 - as above

    progress = open_progress(options, app.env, "up")
    with progress:
        stage, plan = prepare(app, client, options, wishes, progress)
        first, rest = split_plan(plan)
        carry_out(first, stage, options, app.env, LateImages())
    stage.report = partial(quiet_starts, progress)
    ansi = options.text("ansi") or app.env.get("COMPOSE_ANSI", "") or "auto"
    printer = LogPrinter(
        (),
        prefix=not options.on("no-log-prefix"),
        color=wants_color(ansi, no_color=options.on("no-color")),
        timestamps=options.on("timestamps"),
    )
    code_from = options.text("exit-code-from")
    attached = AttachedWishes(
        frozenset(_attached_services(app, options, wishes)),
        wishes.named or frozenset(wishes.services),
        abort_on_exit=options.on("abort-on-container-exit") or bool(code_from),
        abort_on_failure=options.on("abort-on-container-failure"),
        exit_code_from=app.checked([code_from])[0] if code_from else "",
        timeout_s=timeout_s(options),
        parallel=parallel_limit(options, app.env),
    )
    run = AttachedRun(stage, Performer(stage, LateImages()), printer, attached)
    if options.on("watch"):
        from kedge.cli.compose.watching import watch_beside  # noqa: PLC0415 - as above

        run.on_started = watch_beside(
            app,
            EngineClient(client.host),
            list(wishes.services),
            note=lambda text: printer.note(f"⦿ {text}"),
            rebuild=partial(rebuild, options, client.host),
        )
    return run.run(rest, client, open_progress(options, app.env, "stop"))


def _attached_services(app: Application, options: Options, wishes: Wishes) -> list[str]:
    named = options.texts("attach")
    hidden = app.checked(options.texts("no-attach")) if options.given("no-attach") else []
    if named:
        return [name for name in app.checked(named) if name not in hidden]
    shown = wishes.services
    if wishes.named and not options.on("attach-dependencies"):
        shown = tuple(name for name in shown if name in wishes.named)
    return [
        name
        for name in shown
        if name not in hidden and app.service(name).get("attach") is not False
    ]


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Build, create and start what the Compose files describe",
    flags=(
        switch("detach", "Run in the background", short="d"),
        *CONVERGE_FLAGS,
        *grouped(
            "Containers",
            switch("always-recreate-deps", "Make containers of dependencies anew, too"),
            switch("renew-anon-volumes", "Do not take anonymous volumes over", short="V"),
            switch("no-deps", "Leave services the named ones depend on alone"),
            switch("no-start", "Only create"),
            switch("watch", "Take changes of files over, as 'compose watch' does", short="w"),
            TIMEOUT_FLAG,
        ),
        *grouped(
            "In the foreground",
            switch("abort-on-container-exit", "Stop everything when one container ends"),
            switch("abort-on-container-failure", "Stop everything when one container fails"),
            value("exit-code-from", "SERVICE", "End with its code, and everything with it"),
            many("attach", "SERVICE", "Show the output of these services only"),
            many("no-attach", "SERVICE", "Do not show the output of these services"),
            switch("attach-dependencies", "Show the output of dependencies, too"),
            switch("no-log-prefix", "Print lines without the container's name"),
            switch("no-color", "Print lines without colours"),
            switch("timestamps", "Print the time of each line"),
            switch("menu", "Accepted for Docker's sake: there is no menu"),
        ),
        *grouped(
            "Waiting",
            switch("wait", "Wait until everything runs and is healthy; implies -d"),
            value("wait-timeout", "SECONDS", "How long to wait at most", check=integer),
        ),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose up --build -d", "Build and start everything in the background"),
        ("kedge compose up -d --scale worker=3", "Three containers of one service"),
        ("kedge compose --dry-run up", "Only say what would be done, and why"),
    ),
)


def rebuild(options: Options, host: Host, service: str) -> None:
    """Build the image of a service and make its containers anew, for ``watch``.

    Raises:
        SystemFailureError: It failed; why has been said.
    """
    words = ["--build", "--no-deps", "--progress=plain", service]
    if bring_up(options, EngineClient(host), words):
        raise SystemFailureError("it could not be rebuilt; it runs as it was")


def bring_up(options: Options, client: EngineClient, words: Sequence[str]) -> int:
    """Do ``up -d`` with ``words`` for the project another verb's flags mean; return its code.

    Raises:
        KedgeError: The files cannot be used.
    """
    project = [
        f"--{flag.name}={text}" for flag in PROJECT_FLAGS for text in options.texts(flag.name)
    ]
    chosen = read_options(COMMAND.flags, ["--detach", *project, *words], interspersed=True)
    return _run(chosen, client)
