"""A service's ``build`` as the command line of ``kedge build`` that does the same. Pure."""

from typing import Final

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.containerconfig import truth
from kedge.compose.steps import BuildImage
from kedge.errdefs import InvalidParameterError, NotSupportedError
from kedge.lib.fields import items, mapping, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject

_LISTS: Final = {
    "tags": "--tag",
    "cache_from": "--cache-from",
    "cache_to": "--cache-to",
    "no_cache_filter": "--no-cache-filter",
    "entitlements": "--allow",
}
_SWITCHES: Final = {"no_cache": "--no-cache", "pull": "--pull"}
_VALUES: Final = {
    "target": "--target",
    "network": "--network",
    "shm_size": "--shm-size",
    "provenance": "--provenance",
    "sbom": "--sbom",
}


def build_words(app: Application, step: BuildImage, dockerfile: str) -> list[str]:
    """Return the words after ``kedge build``; the context is the last.

    Args:
        app: The application, whose secrets and images a build may refer to.
        step: The service's image and build.
        dockerfile: Path of the Dockerfile; empty leaves it to the context.

    Raises:
        InvalidParameterError: A secret that has neither file nor variable.
        NotSupportedError: A privileged build.
    """
    build = step.build
    if truth(build.get("privileged")):
        raise NotSupportedError("build.privileged is not supported: see 'entitlements'")
    words = [f"--tag={step.image}"]
    for key, flag in _LISTS.items():
        words += [f"{flag}={one}" for one in items(build, key)]
    words += [flag for key, flag in _SWITCHES.items() if truth(build.get(key))]
    words += [f"{flag}={build[key]}" for key, flag in _VALUES.items() if build.get(key)]
    words += [
        f"--build-arg={key}={one}" for key, one in mapping(build, "args").items() if one is not None
    ]
    own = {key: str(one) for key, one in mapping(build, "labels").items()}
    own |= {labels.PROJECT: app.name, labels.SERVICE: step.service}
    words += [f"--label={key}={one}" for key, one in own.items()]
    hosts = [one.replace("=", ":", 1) for one in texts(build, "extra_hosts")]
    words += [f"--add-host={one}" for one in hosts]
    words += [
        f"--build-context={key}={_place(app, str(one))}"
        for key, one in mapping(build, "additional_contexts").items()
    ]
    words += [f"--ulimit={key}={_limit(one)}" for key, one in mapping(build, "ulimits").items()]
    words += [*_platform(app, step), *_secrets(app, build), *_agents(build)]
    if dockerfile:
        words.append(f"--file={dockerfile}")
    return [*words, text(build, "context") or "."]


def _place(app: Application, place: str) -> str:
    if place.startswith("service:"):
        return f"docker-image://{app.image(place.removeprefix('service:'))}"
    return place


def _limit(limit: Json) -> str:
    return f"{limit['soft']}:{limit['hard']}" if isinstance(limit, dict) else str(limit)


def _platform(app: Application, step: BuildImage) -> list[str]:
    wanted = text(app.service(step.service), "platform")
    platforms = wanted or ",".join(texts(step.build, "platforms"))
    platforms = platforms or app.env.get("DOCKER_DEFAULT_PLATFORM", "")
    return [f"--platform={platforms}"] if platforms else []


def _secrets(app: Application, build: JsonObject) -> list[str]:
    found: list[str] = []
    for use in objects(build, "secrets"):
        source = text(use, "source")
        declared = mapping(app.model, "secrets", source)
        name = text(use, "target").rpartition("/")[2] or source
        if declared.get("file"):
            found.append(f"--secret=id={name},src={text(declared, 'file')}")
        elif declared.get("environment"):
            found.append(f"--secret=id={name},env={text(declared, 'environment')}")
        else:
            raise InvalidParameterError(f"build secret {source}: want a file or a variable")
    return found


def _agents(build: JsonObject) -> list[str]:
    return [
        f"--ssh={name}={path}" if path else f"--ssh={name}"
        for name, path in mapping(build, "ssh").items()
    ]
