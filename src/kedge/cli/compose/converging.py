"""``up``, ``create``, ``scale`` and ``run`` alike: images first, then the plan and its steps."""

import sys
from collections.abc import Sequence
from typing import Final

from kedge.cli.compose.buildflags import BuildFlags
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import is_set
from kedge.cli.compose.progress import Progress, open_progress
from kedge.cli.compose.running import carry_out, open_stage, tell_failure
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, grouped, many, switch, value
from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.decisions import Recreate
from kedge.compose.facts import gather
from kedge.compose.images import ImageWishes, hook_images, look_up, plan_images
from kedge.compose.plan import Wishes, plan_up
from kedge.compose.resourceuse import changed_volumes
from kedge.compose.stage import Stage
from kedge.compose.steps import Plan
from kedge.errdefs import InvalidParameterError, KedgeError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.durations import SECOND

IMAGE_FLAGS: Final = grouped(
    "Images",
    switch("build", "Build images before containers are made"),
    switch("no-build", "Never build an image, even where it is missing"),
    value("pull", "POLICY", "Pull images: always, missing, never, build or policy",
          complete="always|missing|never|build|policy"),
    switch("quiet-pull", "Pull without progress"),
    switch("quiet-build", "Build without progress"),
)  # fmt: skip
CONVERGE_FLAGS: Final = (
    *grouped(
        "Containers",
        switch("force-recreate", "Make containers anew although nothing changed"),
        switch("no-recreate", "Leave containers that are there as they are"),
        many("scale", "SERVICE=N", "Run so many containers of a service"),
        switch("remove-orphans", "Remove containers of services no file has"),
        switch("yes", "Answer every question with yes", short="y"),
    ),
    *IMAGE_FLAGS,
)
_PULL_POLICIES: Final = frozenset({"", "policy", "always", "missing", "never", "build"})


def check_converge_flags(options: Options) -> None:
    """Refuse flags of `CONVERGE_FLAGS` that contradict each other.

    Raises:
        UsageError: They do.
    """
    if options.on("force-recreate") and options.on("no-recreate"):
        raise UsageError("--force-recreate and --no-recreate are incompatible")
    check_image_flags(options)


def check_image_flags(options: Options) -> None:
    """Refuse flags of `IMAGE_FLAGS` that contradict each other.

    Raises:
        UsageError: They do.
    """
    if options.on("build") and options.on("no-build"):
        raise UsageError("--build and --no-build are incompatible")
    if options.text("pull") not in _PULL_POLICIES:
        raise UsageError(
            f'invalid --pull option "{options.text("pull")}": '
            "want always, missing, never, build or policy"
        )


def parse_scale(texts: Sequence[str]) -> dict[str, int]:
    """Return numbers by service from ``SERVICE=N``.

    Raises:
        InvalidParameterError: One is malformed.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not name or not equals or not number.isdigit():
            raise InvalidParameterError(f"invalid scale specifier: {text}: want SERVICE=NUMBER")
        found[name] = int(number)
    return found


def wishes_of(
    options: Options, app: Application, names: Sequence[str], *, dependencies: bool
) -> Wishes:
    """Return what the flags of `CONVERGE_FLAGS` ask for.

    Raises:
        NotFoundError: A service is not there.
    """
    services = app.checked(names)
    scale = parse_scale(options.texts("scale"))
    app.checked(scale)
    recreate = Recreate.DIVERGED
    if options.on("force-recreate"):
        recreate = Recreate.FORCE
    elif options.on("no-recreate"):
        recreate = Recreate.NEVER
    return Wishes(
        services=tuple(app.with_dependencies(services) if dependencies else services),
        named=frozenset(names),
        recreate=recreate,
        recreate_dependencies=Recreate.NEVER if options.on("no-recreate") else Recreate.DIVERGED,
        scale=scale,
        remove_orphans=options.on("remove-orphans") or is_set(app.env, "COMPOSE_REMOVE_ORPHANS"),
        ignore_orphans=is_set(app.env, "COMPOSE_IGNORE_ORPHANS"),
    )


def converge_verb(
    app: Application, client: EngineClient, options: Options, wishes: Wishes, operation: str
) -> int:
    """Make it so, show progress, tell a failure; return the exit code."""
    try:
        with open_progress(options, app.env, operation) as progress:
            stage, plan = prepare(app, client, options, wishes, progress)
            carry_out(plan, stage, options, app.env, LateImages())
    except KedgeError as error:
        return tell_failure(error, client)
    return OK


def prepare(
    app: Application, client: EngineClient, options: Options, wishes: Wishes, progress: Progress
) -> tuple[Stage, Plan]:
    """Get the images, look at what is there, and return what is to be done.

    Raises:
        KedgeError: An image cannot be had, or the application asks for the impossible.
    """
    stage = open_stage(app, client, progress)
    image_ids = ensure_images(stage, client, options, wishes.services)
    facts = gather(client, app, image_ids)
    stage.know(facts.observed.containers)
    stage.pool.version = client.version
    recreated = confirmed_volumes(options, changed_volumes(app, facts, wishes.services))
    return stage, plan_up(app, facts, wishes._replace(recreate_volumes=recreated))


def ensure_images(
    stage: Stage, client: EngineClient, options: Options, services: Sequence[str]
) -> dict[str, str]:
    """Pull and build what is missing; return image ids by service."""
    app = stage.app
    images = [
        image for name in services for image in (app.image(name), *hook_images(app, name))
        if not app.service(name).get("provider")
    ]  # fmt: skip
    local = look_up(client, images)
    pull = options.text("pull")
    wanted = ImageWishes(
        options.on("build"),
        options.on("no-build"),
        "" if pull == "policy" else pull,
        SYSTEM_CLOCK.time_ns() / SECOND,
    )
    plan = plan_images(app, services, local, wanted)
    if plan.steps:
        flags = BuildFlags(quiet=options.on("quiet-build"))
        carry_out(plan, stage, options, app.env, LateImages(flags))
        local = look_up(client, images)
    return {name: local[app.image(name)].id for name in services if app.image(name) in local}


def confirmed_volumes(options: Options, keys: Sequence[str]) -> frozenset[str]:
    """Return those of the changed volumes that the user lets go, asking for each."""
    if options.on("yes"):
        return frozenset(keys)
    if not keys or not sys.stdin.isatty():
        for key in keys:
            sys.stderr.write(
                f'kedge: warning: volume "{key}" exists but doesn\'t match configuration in '
                "compose file; it is used as it is (-y makes it anew, its data is lost)\n"
            )
        return frozenset()
    from kedge.cli.confirm import confirm  # noqa: PLC0415 - rarely needed

    return frozenset(
        key
        for key in keys
        if confirm(
            f'Volume "{key}" exists but doesn\'t match configuration in compose file. '
            "Recreate (data will be lost)?"
        )
    )
