"""A project as the command line means it: its files, name, environment, and the model they make.

Finding files, ``.env`` and the ``COMPOSE_*`` variables live here, and the files services name
(``env_file``, ``label_file``); everything else is `kedge.compose.loading`.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kedge.compose.canonical import items, section
from kedge.compose.dotenv import parse_dotenv, parse_raw_env
from kedge.compose.failures import ComposeFileError, no_such_service, one_line
from kedge.compose.loading import File, Settings, load_model
from kedge.compose.merging import as_entries
from kedge.compose.template import Warn
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.jsontypes import Json, JsonObject

_NAMES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES: Final = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_VALID_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


class NoComposeFileError(NotFoundError):
    """Neither the folder nor one above it has a Compose file, and none was named."""


class Wanted(NamedTuple):
    """What the command line says about the project."""

    files: tuple[str, ...] = ()
    name: str = ""
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    directory: str = ""
    interpolate: bool = True
    normalize: bool = True
    resolve_paths: bool = True
    consistency: bool = True
    env_resolution: bool = True
    all_resources: bool = False
    """Keep networks, volumes, configs and secrets that no service uses."""


class Project(NamedTuple):
    """A loaded project."""

    name: str
    directory: str
    files: tuple[str, ...]
    env: Mapping[str, str]
    model: JsonObject
    disabled: JsonObject


def load_project(wanted: Wanted, environ: Mapping[str, str], warn: Warn) -> Project:
    """Return the project the command line and the environment mean.

    Raises:
        NoComposeFileError: There is no Compose file.
        ComposeFileError: A file cannot be used.
    """
    here = wanted.directory or os.getcwd()
    env = _environment(wanted, environ, here)
    paths = _compose_files(wanted, env, here, warn)
    directory = os.path.abspath(wanted.directory or _folder(paths[0]))
    if directory != os.path.abspath(here) and not wanted.env_files:
        env = {**_optional_env(os.path.join(directory, ".env"), env), **env}
    files = [File(_shown(path), _read(path)) for path in paths]
    explicit = wanted.name or env.get("COMPOSE_PROJECT_NAME", "")
    if explicit and not _VALID_NAME.fullmatch(explicit):
        raise InvalidParameterError(
            f"invalid project name '{explicit}': must consist only of lowercase alphanumeric "
            "characters, hyphens, and underscores as well as start with a letter or number"
        )
    fallback = re.sub(r"[^a-z0-9_-]", "", os.path.basename(directory).lower()).lstrip("_-")
    profiles = (*wanted.profiles, *_list(env.get("COMPOSE_PROFILES", ""), ","))
    settings = Settings(
        read=_read,
        directory=directory,
        env=env,
        name=explicit,
        fallback_name=fallback,
        profiles=profiles,
        warn=_once(warn),
        interpolate=wanted.interpolate,
        resolve_paths=wanted.resolve_paths,
        normalize=wanted.normalize,
        consistency=wanted.consistency,
    )
    loaded = load_model(files, settings)
    model = loaded.model
    if wanted.env_resolution:
        model = _with_env_files(model, env)
    name = str(model["name"])
    if not _VALID_NAME.fullmatch(name) and wanted.interpolate:
        raise InvalidParameterError(f"invalid project name '{name}' in {files[-1].name}")
    full = {**env, "COMPOSE_PROJECT_NAME": name}
    kept = model if wanted.all_resources else pruned(model)
    return Project(name, directory, tuple(paths), full, kept, loaded.disabled)


def _once(warn: Warn) -> Warn:
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            warn(text)

    return tell


def _list(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _shown(path: str) -> str:
    return "<stdin>" if path == "-" else path


def _folder(path: str) -> str:
    return os.getcwd() if path == "-" else os.path.dirname(os.path.abspath(path))


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read()
        with open(path, encoding="utf-8-sig") as stream:
            return stream.read()
    except UnicodeDecodeError:
        raise ComposeFileError(f"{path}:1:1: not a UTF-8 text") from None


def _environment(wanted: Wanted, environ: Mapping[str, str], here: str) -> dict[str, str]:
    named = wanted.env_files or tuple(_list(environ.get("COMPOSE_ENV_FILES", ""), ","))
    found: dict[str, str] = {}
    for path in named:
        found |= _env_file(path, environ, found)
    off = environ.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in {"1", "true"}
    if not named and not off:
        found = _optional_env(os.path.join(here, ".env"), environ)
    return {**found, **environ}


def _optional_env(path: str, environ: Mapping[str, str]) -> dict[str, str]:
    return _env_file(path, environ, {}) if os.path.isfile(path) else {}


def _env_file(path: str, environ: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    try:
        return parse_dotenv(_read(path), environ, known)
    except ComposeFileError:
        raise
    except InvalidParameterError as error:
        line, _, text = str(error).removeprefix("line ").partition(": ")
        raise ComposeFileError(one_line(f"{path}:{line}:1: {text}")) from None


def _compose_files(wanted: Wanted, env: Mapping[str, str], here: str, warn: Warn) -> list[str]:
    if wanted.files:
        return [*wanted.files]
    separator = env.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    listed = _list(env.get("COMPOSE_FILE", ""), separator)
    if listed:
        return [os.path.join(here, path) for path in listed]
    folder = os.path.abspath(here)
    while True:
        present = [name for name in _NAMES if os.path.isfile(os.path.join(folder, name))]
        if present:
            break
        if folder == os.path.dirname(folder):
            raise NoComposeFileError(
                "no configuration file provided: not found: "
                "want compose.yaml in this folder or one above it, or -f FILE"
            )
        folder = os.path.dirname(folder)
    if len(present) > 1:
        warn(f"Found multiple config files with supported names: {', '.join(present)}")
        warn(f"Using {os.path.join(folder, present[0])}")
    overrides = [name for name in _OVERRIDES if os.path.isfile(os.path.join(folder, name))]
    return [os.path.join(folder, name) for name in (present[0], *overrides[:1])]


def _with_env_files(model: JsonObject, env: Mapping[str, str]) -> JsonObject:
    services = {
        name: _service_env(name, service, env) if isinstance(service, dict) else service
        for name, service in section(model, "services").items()
    }
    return {**model, "services": services} if "services" in model else model


def _service_env(name: str, service: JsonObject, env: Mapping[str, str]) -> JsonObject:
    result = {**service}
    values: dict[str, Json] = {}
    for entry in items(result.pop("env_file", None)):
        if isinstance(entry, dict):
            values |= _named_file(name, entry, {**env, **_texts(values)})
    if values:
        for text in as_entries(result.get("environment")):
            key, separator, value = str(text).partition("=")
            values[key] = value if separator else None
        result["environment"] = values
    labels: list[Json] = []
    for path in items(result.pop("label_file", None)):
        found = _named_file(name, {"path": path}, env)
        labels += [f"{key}={value}" for key, value in found.items()]
    if labels:
        own = {str(text).partition("=")[0] for text in as_entries(result.get("labels"))}
        kept = [text for text in labels if str(text).partition("=")[0] not in own]
        result["labels"] = [*kept, *as_entries(result.get("labels"))]
    return result


def _texts(values: Mapping[str, Json]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _named_file(service: str, entry: JsonObject, env: Mapping[str, str]) -> dict[str, Json]:
    path = str(entry.get("path"))
    if not os.path.isfile(path):
        if entry.get("required", True) in {False, "false"}:
            return {}
        raise NotFoundError(f"service {service}: env file {path} not found")
    if entry.get("format") == "raw":
        raw = parse_raw_env(_read(path))
        return {key: env.get(key) if value is None else value for key, value in raw.items()}
    return {**_env_file(path, env, {})}


def pruned(model: JsonObject) -> JsonObject:
    """Leave out networks, volumes, configs and secrets no service uses."""
    used: dict[str, set[str]] = {
        "networks": set(),
        "volumes": set(),
        "configs": set(),
        "secrets": set(),
    }
    for service in section(model, "services").values():
        if not isinstance(service, dict):
            continue
        used["networks"] |= set(section(service, "networks"))
        mounts = {
            "volumes": items(service.get("volumes")),
            "configs": items(service.get("configs")),
            "secrets": [
                *items(service.get("secrets")),
                *items(section(service, "build").get("secrets")),
            ],
        }
        for kind, listed in mounts.items():
            used[kind] |= {str(one.get("source")) for one in listed if isinstance(one, dict)}
    result = {**model}
    for kind, names in used.items():
        kept = {key: value for key, value in section(model, kind).items() if key in names}
        result.pop(kind, None)
        if kept:
            result[kind] = kept
    return result


def select_services(model: JsonObject, names: Sequence[str]) -> JsonObject:
    """Return the model with these services and what they depend on; all where none is named.

    Raises:
        NotFoundError: A service is not there.
    """
    services = section(model, "services")
    chosen: dict[str, Json] = {}
    pending = [*names]
    while pending:
        name = pending.pop()
        if name not in services:
            raise no_such_service(name, services)
        if name not in chosen:
            chosen[name] = services[name]
            service = services[name]
            pending += section(service, "depends_on") if isinstance(service, dict) else {}
    if not names:
        return model
    return pruned(
        {**model, "services": {name: services[name] for name in services if name in chosen}}
    )
