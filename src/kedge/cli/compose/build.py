"""``kedge compose build``: build the images of services that have a ``build``."""

import os
from typing import Final

from kedge.cli.command import Command
from kedge.cli.compose.buildflags import BuildFlags
from kedge.cli.compose.lateimages import LateImages
from kedge.cli.compose.opening import open_application
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.compose.running import run_plan
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.options.environment import parse_env
from kedge.client.http import EngineClient
from kedge.compose.images import plan_builds, plan_pushes
from kedge.compose.steps import Plan
from kedge.errdefs import NotSupportedError
from kedge.lib.units import parse_ram


def _run(options: Options, client: EngineClient) -> int:
    for name in ("check", "print"):
        if options.on(name):
            raise NotSupportedError(f"--{name} is not supported: see 'kedge build --check'")
    app = open_application(options, options.words)
    services = app.checked(options.words)
    if options.on("with-dependencies"):
        services = app.with_dependencies(services)
    arguments: dict[str, str] = {}
    for given in options.texts("build-arg"):
        name, equals, text = parse_env(given, os.environ.get).partition("=")
        if equals:
            arguments[name] = text
    flags = BuildFlags(
        no_cache=options.on("no-cache"),
        pull=options.on("pull"),
        memory=options.text("memory"),
        arguments=arguments,
        agents=tuple(options.texts("ssh")),
        provenance=options.text("provenance"),
        sbom=options.text("sbom"),
        quiet=options.on("quiet"),
    )
    plan = plan_builds(app, services)
    if options.on("push"):
        built = {step.key for step in plan.steps}
        pushes = plan_pushes(app, services, lambda name: (f"build:{name}",)).steps
        plan = Plan((*plan.steps, *(step for step in pushes if built.intersection(step.needs))))
    return run_plan(
        plan, app, client, options, "build", images=LateImages(flags), quiet=options.on("quiet")
    )


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Build the images of services",
    flags=(
        many("build-arg", "NAME=VALUE", "Value of an ARG"),
        switch("no-cache", "Run every step again"),
        switch("pull", "Look for newer base images"),
        switch("push", "Push what was built"),
        switch("with-dependencies", "Build what the services depend on, too"),
        many("ssh", "default|ID[=SOCKET]", "Lend an ssh agent to steps that mount it"),
        value("memory", "SIZE", "Limit of memory of a step", short="m", check=parse_ram),
        value("builder", "NAME", "Accepted for Docker's sake: there is one builder"),
        value("provenance", "MODE", "Attest what the images were built from"),
        value("sbom", "MODE", "Attest which packages the images hold"),
        switch("check", "Refused: see 'kedge build --check'"),
        switch("print", "Refused: kedge uses no bake file"),
        switch("quiet", "Do not show what the builds print", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose build", "Build everything"),
        ("kedge compose build --build-arg VERSION=2 web", "One service, with an argument"),
    ),
)
