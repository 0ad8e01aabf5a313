"""Docker's ``~/.docker/config.json``, which kedge shares: read here, and changed field by field.

Missing fields and a missing file are empty. Fields of others stay as they are.
"""

import os
from collections.abc import Mapping

from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json, JsonObject


def config_folder(environ: Mapping[str, str] | None = None) -> str:
    """Return the folder of Docker's client: ``DOCKER_CONFIG``, or ``~/.docker``."""
    environ = os.environ if environ is None else environ
    return environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def config_path() -> str:
    """Return where the file is."""
    return os.path.join(config_folder(), "config.json")


def load_config() -> JsonObject:
    """Return the file's content.

    Raises:
        InvalidParameterError: It cannot be read or is not JSON; it is named.
    """
    path = config_path()
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidParameterError(f"open {path}: {(error.strerror or '').lower()}") from None
    if not content.strip():
        return {}
    import json  # noqa: PLC0415 - only where there is a file

    try:
        document: Json = json.loads(content)
    except ValueError as error:
        raise InvalidParameterError(f"{path} is not JSON: {error}") from None
    return document if isinstance(document, dict) else {}


def configured_format(name: str, given: str) -> str:
    """Return a ``--format``: the one given, or the configured one called ``name``."""
    if given:
        return given
    found = load_config().get(name)
    return found if isinstance(found, str) else ""


def change_config(name: str, text: str) -> None:
    """Set a text of the file, or take it out where ``text`` is empty, in one step.

    Raises:
        InvalidParameterError: The file is there and cannot be read.
    """
    import json  # noqa: PLC0415 - rarely needed

    document = load_config()
    document.pop(name, None)
    if text:
        document[name] = text
    path = os.path.realpath(config_path())
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    # The file holds passwords: nobody else may read it, not even for a moment.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent="\t", ensure_ascii=False))
    os.replace(temporary, path)
