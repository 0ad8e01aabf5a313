"""The project a verb works on: from its files, or by name from the labels of what is there."""

import os
from collections.abc import Mapping, Sequence

from kedge.cli.compose.projectflags import wanted_project, warn
from kedge.cli.flags import Options
from kedge.client.http import EngineClient
from kedge.compose.application import Application, application_from_labels
from kedge.compose.observed import observe
from kedge.errdefs import InvalidParameterError

_TRUE = frozenset({"1", "true", "yes", "on"})


def open_application(options: Options, services: Sequence[str] = ()) -> Application:
    """Return the project its files describe; naming a service switches its profiles on.

    Raises:
        NoComposeFileError: There is no Compose file.
        ComposeFileError: A file cannot be used.
    """
    from kedge.compose.canonical import items  # noqa: PLC0415 - not without files
    from kedge.compose.presentation import presented  # noqa: PLC0415 - as above
    from kedge.compose.project import load_project  # noqa: PLC0415 - as above

    wanted = wanted_project(options)
    project = load_project(wanted, os.environ, warn)
    more: list[str] = []
    for name in services:
        off = project.disabled.get(name)
        if isinstance(off, dict):
            more += [str(profile) for profile in items(off.get("profiles"))]
    if more:
        wanted = wanted._replace(profiles=(*wanted.profiles, *more))
        project = load_project(wanted, os.environ, lambda _text: None)
    return Application(
        name=project.name,
        model=presented(project.model),
        env=project.env,
        directory=project.directory,
        files=tuple(path if path == "-" else os.path.abspath(path) for path in project.files),
        env_files=tuple(os.path.abspath(path) for path in wanted.env_files),
        disabled=frozenset(project.disabled),
        separator=_separator(options, project.env),
    )


def is_set(env: Mapping[str, str], variable: str) -> bool:
    """Whether a variable such as ``COMPOSE_REMOVE_ORPHANS`` is on."""
    return env.get(variable, "").lower() in _TRUE


def _separator(options: Options, env: Mapping[str, str]) -> str:
    compatible = options.tristate("compatibility")
    if compatible is None:
        compatible = is_set(env, "COMPOSE_COMPATIBILITY")
    return "_" if compatible else "-"


def parallel_limit(options: Options, env: Mapping[str, str]) -> int:
    """Return how much may be done at once; -1 is without limit."""
    text = options.text("parallel") or env.get("COMPOSE_PARALLEL_LIMIT", "") or "-1"
    try:
        return int(text)
    except ValueError:
        raise InvalidParameterError(
            f"COMPOSE_PARALLEL_LIMIT must be an integer, and is {text!r}"
        ) from None


def find_application(
    options: Options, client: EngineClient, services: Sequence[str] = ()
) -> Application:
    """Return the project its files describe, or, by its name alone, what labels tell of it.

    As with Docker Compose, a name without a file means whatever has that name, here or not.

    Raises:
        NoComposeFileError: Neither a name nor a file.
        ComposeFileError: A file cannot be used.
    """
    from kedge.compose.project import NoComposeFileError  # noqa: PLC0415 - not without files

    if options.text("project-name") and not options.texts("file"):
        name = options.text("project-name")
    else:
        try:
            return open_application(options, services)
        except NoComposeFileError:
            name = os.environ.get("COMPOSE_PROJECT_NAME", "")
            if not name:
                raise
    if not name:
        raise InvalidParameterError("project name must not be empty")
    return application_from_labels(name, observe(client, name), os.environ)
