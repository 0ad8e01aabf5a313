"""``kedge compose config``: print the model a project's files make."""

import os
import sys
from typing import TYPE_CHECKING, Final

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import SHORT_PROJECT_FLAGS, wanted_project, warn
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, UsageError, switch, value
from kedge.client.http import EngineClient

if TYPE_CHECKING:
    from kedge.compose.project import Project

_FORMATS: Final = ("yaml", "json")
_LISTS: Final = (
    "services", "volumes", "networks", "models", "images", "profiles", "environment"
)  # fmt: skip


def _run(options: Options, client: EngineClient) -> int:
    from kedge.compose.project import load_project  # noqa: PLC0415 - no other verb pays for it

    if options.text("format") not in _FORMATS:
        raise UsageError(f"unsupported format '{options.text('format')}': yaml or json")
    variables = options.on("variables")
    wanted = wanted_project(options)._replace(
        interpolate=not (variables or options.on("no-interpolate")),
        normalize=not (variables or options.on("no-normalize")),
        resolve_paths=not options.on("no-path-resolution"),
        consistency=not (variables or options.on("no-consistency")),
        env_resolution=not options.on("no-env-resolution"),
    )
    if variables or options.on("profiles"):
        wanted = wanted._replace(profiles=("*",))
    project = load_project(wanted, os.environ, warn)
    text = _text(options, project, client)
    if options.on("quiet"):
        return OK
    path = options.text("output")
    if path:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    else:
        sys.stdout.write(text)
    return OK


def _text(options: Options, project: "Project", client: EngineClient) -> str:
    from kedge.compose import listing, presentation, printing  # noqa: PLC0415 - as above
    from kedge.compose.project import select_services  # noqa: PLC0415 - as above

    as_json = options.text("format") == "json"
    if options.on("variables"):
        return listing.variables(project.model, as_json=as_json)
    model = presentation.presented(select_services(project.model, options.words))
    if options.on("resolve-image-digests") or options.on("lock-image-digests"):
        from kedge.compose import pinning  # noqa: PLC0415 - as above

        model = pinning.pinned(model, client)
        if options.on("lock-image-digests"):
            model = pinning.lock_file(model)
    if options.text("hash"):
        lines = listing.hashes(model, options.text("hash"))
    else:
        chosen = [name for name in _LISTS if options.on(name)]
        if not chosen:
            if not options.on("no-interpolate"):
                model = listing.escaped(model)
            return printing.to_json(model) if as_json else printing.to_yaml(model)
        lines = listing.LISTS[chosen[0]](model, project.env)
    return "".join(f"{line}\n" for line in lines)


COMMAND: Final = Command(
    usage="[OPTIONS] [SERVICE...]",
    summary="Print the model the Compose files make, with everything implied written out",
    flags=(
        *SHORT_PROJECT_FLAGS,
        value("format", "FORMAT", "yaml or json", default="yaml", complete="yaml|json"),
        switch("quiet", "Only check the files", short="q"),
        value("output", "FILE", "Write to a file instead of the terminal", short="o"),
        switch("services", "Print the services' names"),
        switch("volumes", "Print the volumes' names"),
        switch("networks", "Print the networks' names"),
        switch("models", "Print the models' names"),
        switch("images", "Print the images' names"),
        switch("profiles", "Print the profiles' names"),
        switch("environment", "Print the variables the files are read with"),
        switch("variables", "Print the variables the files name, and their defaults"),
        value("hash", "SERVICE", "Print the hash of services, '*' is all"),
        switch("resolve-image-digests", "Print images with the digest their registry has now"),
        switch("lock-image-digests", "Print an override file that holds the images' digests"),
        switch("no-interpolate", "Leave variables as they are"),
        switch("no-normalize", "Leave out what is implied"),
        switch("no-path-resolution", "Leave paths as they are"),
        switch("no-consistency", "Do not check that everything named is there"),
        switch("no-env-resolution", "Leave environment files as they are"),
    ),
    run=_run,
    examples=(
        ("kedge compose config", "The whole model"),
        ("kedge compose -f app.yaml config --services", "The services' names"),
        ("kedge compose config -q", "Only say whether the files are right"),
        ("kedge compose config --lock-image-digests >compose.override.yaml", "Pin the images"),
    ),
    needs_engine=False,
)
