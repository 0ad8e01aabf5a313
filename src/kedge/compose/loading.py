"""Compose files to one model, in the reference implementation's order.

Per document: parse, interpolate, include, ``!reset`` and ``!override``, extends, merge, one entry
per key, shapes, long forms. After all files: defaults, checks of values, paths, what is implied,
profiles, consistency. Every fault leaves as a `ComposeFileError` that begins with
``file:line:column``. Files are read through `Settings.read`, so that nothing here needs a disk.
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from kedge.compose.canonical import canonical, items, section, with_defaults
from kedge.compose.consistency import check_consistency, check_values
from kedge.compose.dotenv import parse_dotenv
from kedge.compose.failures import ComposeFileError, ModelError, Path, one_line
from kedge.compose.filepaths import resolve_path, resolve_paths
from kedge.compose.interpolation import interpolate
from kedge.compose.merging import enforce_unicity, merge
from kedge.compose.normalize import normalize
from kedge.compose.plainyaml import parse_documents
from kedge.compose.shapes import check_shape
from kedge.compose.template import Warn
from kedge.compose.yamlvalues import Document, Mark
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject


class Settings(NamedTuple):
    """What a model is loaded with besides its files."""

    read: Callable[[str], str]
    """Returns the text of a file; raises `OSError`."""
    directory: str
    env: Mapping[str, str]
    name: str = ""
    fallback_name: str = ""
    """The name where neither the user nor a file gives one."""
    profiles: tuple[str, ...] = ()
    warn: Warn = lambda _text: None
    interpolate: bool = True
    resolve_paths: bool = True
    normalize: bool = True
    consistency: bool = True


class Loaded(NamedTuple):
    """A model and what its loading found out."""

    model: JsonObject
    disabled: JsonObject
    """Services that are off by their profiles."""


class File(NamedTuple):
    """A file by the name messages use, and its text."""

    name: str
    text: str


def load_model(files: Sequence[File], settings: Settings) -> Loaded:
    """Return the model of some files, later ones over earlier ones.

    Raises:
        ComposeFileError: One of the files cannot be used.
    """
    try:
        return _load(files, settings)
    except RecursionError:
        name = files[0].name if files else "compose.yaml"
        raise ComposeFileError(f"{name}:1:1: nested too deeply") from None


def _load(files: Sequence[File], settings: Settings) -> Loaded:
    documents = [(file, parse_documents(file.text, file.name)) for file in files]
    if all(one.data is None for _, parsed in documents for one in parsed):
        raise ComposeFileError(f"{files[0].name if files else '-'}:1:1: empty compose file")
    name = settings.name or _declared_name(documents, settings.env) or settings.fallback_name
    env = {**settings.env, "COMPOSE_PROJECT_NAME": name} if name else settings.env
    assembly = _Assembly(settings._replace(env=env, name=name), ())
    for file, parsed in documents:
        assembly.add(file.name, parsed)
    if not name:
        raise ComposeFileError(f"{files[0].name}:1:1: project name must not be empty")
    return assembly.finish(name)


def _declared_name(documents: Sequence[tuple[File, list[Document]]], env: Mapping[str, str]) -> str:
    name = ""
    for file, parsed in documents:
        for document in parsed:
            value = document.data.get("name") if isinstance(document.data, dict) else None
            if isinstance(value, str):
                with _placed(document.marks, file.name):
                    name = str(interpolate(value, env, path=("name",))) or name
    return name


@contextmanager
def _placed(marks: Mapping[Path, Mark], file: str) -> Generator[None]:
    """Turn faults of the model into faults of a file."""
    try:
        yield
    except ModelError as error:
        path = error.path
        while path and path not in marks:
            path = path[:-1]
        mark = marks.get(path, Mark(file, 1, 1))
        raise ComposeFileError(f"{mark}: {one_line(str(error))}") from None
    except ComposeFileError:
        raise
    except InvalidParameterError as error:
        raise ComposeFileError(f"{file}:1:1: {one_line(str(error))}") from None


class _Assembly:
    """Files of one folder on their way to one model."""

    __slots__ = ("_file", "_marks", "_model", "_settings", "_stack")

    def __init__(self, settings: Settings, stack: tuple[str, ...]) -> None:
        self._settings = settings
        self._stack = stack
        self._model: JsonObject = {}
        self._marks: dict[Path, Mark] = {}
        self._file = ""

    def add(self, name: str, documents: Sequence[Document]) -> None:
        """Merge the documents of a file."""
        self._file = name
        for document in documents:
            if document.data is None:
                continue
            with _placed({**self._marks, **document.marks}, name):
                self._add(document)

    def _add(self, document: Document) -> None:
        data = self._prepared(document)
        for index, entry in enumerate(items(data.pop("include", None))):
            self._include(entry, ("include", index))
        for path in document.cleared:
            _remove(self._model, path)
        services = section(data, "services")
        if any(isinstance(one, dict) and "extends" in one for one in services.values()):
            data["services"] = {
                name: self._extended(name, data, document.cleared, ()) for name in services
            }
        unique = enforce_unicity(merge(self._model, data))
        check_shape(unique)
        lenient = not self._settings.interpolate
        unique = enforce_unicity(
            canonical(unique if isinstance(unique, dict) else {}, lenient=lenient)
        )
        self._model = unique if isinstance(unique, dict) else {}
        self._marks.update(document.marks)

    def _prepared(self, document: Document) -> JsonObject:
        data = document.data
        if self._settings.interpolate:
            data = interpolate(data, self._settings.env, warn=self._settings.warn)
        check_shape(data, partial=True)
        return {**data} if isinstance(data, dict) else {}

    def _read(self, path: str, at: Path) -> str:
        try:
            return self._settings.read(path)
        except OSError as error:
            raise ModelError(at, f"{path}: {(error.strerror or str(error)).lower()}") from None
        except ValueError:
            raise ModelError(at, f"{path}: not a text file") from None

    def _include(self, entry: Json, at: Path) -> None:
        fields: JsonObject = {**entry} if isinstance(entry, dict) else {"path": entry}
        here = self._settings.directory
        paths = [resolve_path(str(path), here) for path in items(fields.get("path"))]
        if not paths:
            raise ModelError(at, "include: path is required")
        for path in paths:
            if path in self._stack:
                raise ModelError(at, f"include cycle detected: {' -> '.join((*self._stack, path))}")
        folder = fields.get("project_directory")
        directory = resolve_path(str(folder), here) if folder else os.path.dirname(paths[0])
        env = self._include_env(fields, directory, at)
        settings = self._settings._replace(directory=directory, env=env)
        child = _Assembly(settings, (*self._stack, *paths))
        for path in paths:
            child.add(path, parse_documents(self._read(path, at), path))
        included = child.with_paths()
        included.pop("name", None)
        self._model = merge(self._model, included)
        self._marks.update(child._marks)

    def _include_env(self, fields: JsonObject, directory: str, at: Path) -> dict[str, str]:
        named = items(fields.get("env_file"))
        found: dict[str, str] = {}
        for entry in named or [".env"]:
            path = resolve_path(str(entry), self._settings.directory if named else directory)
            try:
                text = self._settings.read(path)
            except OSError:
                if named:
                    raise ModelError(at, f"{path}: no such file or directory") from None
                continue
            found |= parse_dotenv(text, self._settings.env, found)
        return {**found, **self._settings.env}

    def with_paths(self) -> JsonObject:
        """Return the model so far, its paths made absolute."""
        if not self._settings.resolve_paths:
            return self._model
        return resolve_paths(self._model, self._settings.directory)

    def _extended(
        self, name: str, data: JsonObject, cleared: Sequence[Path], seen: tuple[str, ...]
    ) -> Json:
        service = section(data, "services").get(name)
        if not isinstance(service, dict) or "extends" not in service:
            return service
        at: Path = ("services", name, "extends")
        extends = service["extends"]
        fields = extends if isinstance(extends, dict) else {"service": extends}
        other, file = fields.get("service"), fields.get("file")
        if not isinstance(other, str):
            raise ModelError(at, f"extends.{name}.service is required")
        key = f"{file or ''}#{other}"
        if key in seen or (not file and other == name):
            raise ModelError(at, f"circular reference in extends of service {name}: {other}")
        own = {name_: value for name_, value in service.items() if name_ != "extends"}
        if file:
            base = self._from_file(str(file), other, at, (*seen, key))
        else:
            everything = {**section(self._model, "services"), **section(data, "services")}
            if other not in everything:
                text = (
                    f'cannot extend service "{name}" in {self._file}: service "{other}" not found'
                )
                raise ModelError(at, text)
            base = self._extended(other, {**data, "services": everything}, cleared, (*seen, key))
        model: JsonObject = {"services": {name: base}}
        for path in cleared:
            _remove(model, path)
        return section(merge(model, {"services": {name: own}}), "services")[name]

    def _from_file(self, file: str, service: str, at: Path, seen: tuple[str, ...]) -> Json:
        path = resolve_path(file, self._settings.directory)
        settings = self._settings._replace(directory=os.path.dirname(path))
        other = _Assembly(settings, self._stack)
        other._file = path
        found: JsonObject = {}
        for document in parse_documents(self._read(path, at), path):
            with _placed(document.marks, path):
                found = merge(found, other._prepared(document))
        if service not in section(found, "services"):
            raise ModelError(at, f'cannot extend service "{service}" in {path}: service not found')
        base = other._extended(service, found, (), seen)
        only: JsonObject = {"services": {service: base}}
        with _placed({}, path):
            long = canonical(only, lenient=not self._settings.interpolate)
        if self._settings.resolve_paths:
            long = resolve_paths(long, settings.directory)
        return section(long, "services")[service]

    def finish(self, name: str) -> Loaded:
        """Return the whole model: defaults, checks, paths, what is implied, profiles."""
        settings = self._settings
        with _placed(self._marks, self._file):
            model = with_defaults({**self._model, "name": name})
            check_values(model)
            if settings.resolve_paths:
                model = resolve_paths(model, settings.directory)
            if settings.normalize:
                model = normalize(model, settings.env)
            model, disabled = _with_profiles(model, settings.profiles)
            if settings.consistency:
                check_consistency(model, disabled)
        model.pop("version", None)
        return Loaded(model, disabled)


def _remove(model: JsonObject, path: Path) -> None:
    value: Json = model
    for part in path[:-1]:
        value = value.get(str(part)) if isinstance(value, dict) else None
    if isinstance(value, dict) and path:
        value.pop(str(path[-1]), None)


def _with_profiles(model: JsonObject, active: Sequence[str]) -> tuple[JsonObject, JsonObject]:
    enabled: JsonObject = {}
    disabled: JsonObject = {}
    for name, service in section(model, "services").items():
        profiles = items(service.get("profiles")) if isinstance(service, dict) else []
        on = not profiles or "*" in active or any(profile in active for profile in profiles)
        (enabled if on else disabled)[name] = service
    for name, service in enabled.items():
        if isinstance(service, dict) and "depends_on" in service:
            kept = {
                other: setting
                for other, setting in section(service, "depends_on").items()
                if other not in disabled
                or not isinstance(setting, dict)
                or setting.get("required", True)
            }
            enabled[name] = {**service, "depends_on": kept}
    return ({**model, "services": enabled} if "services" in model else {**model}), disabled
