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
_LISTS: Final = ("services", "volumes", "networks", "images", "profiles", "environment")


def _run(options: Options, _client: EngineClient) -> int:
    from kedge.compose.project import load_project  # noqa: PLC0415 - no other verb pays for it

    if options.text("format") not in _FORMATS:
        raise UsageError(f"unsupported format '{options.text('format')}': yaml or json")
    everything = options.on("profiles")
    wanted = wanted_project(options)._replace(
        interpolate=not options.on("no-interpolate"),
        normalize=not options.on("no-normalize"),
        resolve_paths=not options.on("no-path-resolution"),
        consistency=not options.on("no-consistency"),
        env_resolution=not options.on("no-env-resolution"),
    )
    if everything:
        wanted = wanted._replace(profiles=("*",))
    project = load_project(wanted, os.environ, warn)
    text = _text(options, project)
    if options.on("quiet"):
        return OK
    path = options.text("output")
    if path:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    else:
        sys.stdout.write(text)
    return OK


def _text(options: Options, project: "Project") -> str:
    from kedge.compose import listing, presentation, printing  # noqa: PLC0415 - as above
    from kedge.compose.project import select_services  # noqa: PLC0415 - as above

    model = presentation.presented(select_services(project.model, options.words))
    if options.text("hash"):
        lines = listing.hashes(model, options.text("hash"))
    else:
        chosen = [name for name in _LISTS if options.on(name)]
        if not chosen:
            if not options.on("no-interpolate"):
                model = listing.escaped(model)
            as_json = options.text("format") == "json"
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
        switch("images", "Print the images' names"),
        switch("profiles", "Print the profiles' names"),
        switch("environment", "Print the variables the files are read with"),
        value("hash", "SERVICE", "Print the hash of services, '*' is all"),
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
    ),
    needs_engine=False,
    needs_host=False,
)
