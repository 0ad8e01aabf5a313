"""Images for services: pulled as ``kedge pull`` does, built as ``kedge build`` does."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Final

from kedge.cli.buildcontext import Context, check_folder, open_folder, stream_folder
from kedge.cli.buildlent import lent_headers
from kedge.cli.compose.buildflags import BuildFlags
from kedge.cli.config import proxy_environment
from kedge.cli.progress import checked
from kedge.client.credentials import (
    CredentialStore,
    config_directory,
    registry_auth_headers,
    registry_config_headers,
)
from kedge.client.http import EngineClient, percent_encode
from kedge.compose import events, labels
from kedge.compose.application import Application
from kedge.compose.containerconfig import truth
from kedge.compose.events import Event, Kind, Status
from kedge.compose.images import build_step
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import BuildImage, PullImage, PushImage
from kedge.compose.values import parse_bytes
from kedge.errdefs import InvalidParameterError, KedgeError, NotSupportedError
from kedge.lib.fields import items, mapping, number, objects, text, texts
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.references import parse_reference

_INLINE: Final = ".kedge-inline.Dockerfile"
_REMOTE: Final = ("http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://")
_NOT_HERE: Final = ("entitlements", "privileged", "provenance", "sbom", "cache_to")
_MOVING: Final = frozenset({"Downloading", "Extracting"})


class Imaging:
    """Gets images for a command."""

    def __init__(self, flags: BuildFlags | None = None, *, may_fail: bool = False) -> None:
        """Build with ``flags``; ``may_fail`` makes warnings of pulls and pushes that fail."""
        self._flags = flags or BuildFlags()
        self._may_fail = may_fail

    def pull(self, stage: Stage, step: PullImage) -> None:
        """Pull an image; a build stands in where the service has one.

        Raises:
            ServiceError: It cannot be had.
        """
        stage.report(events.working(Kind.IMAGE, step.image, "Pulling"))
        try:
            with stage.pool.client() as client:
                _pull(client, stage, step)
        except KedgeError as error:
            if not step.else_build:
                if self._may_fail:
                    stage.report(events.warning(Kind.IMAGE, step.image, "Skipped", str(error)))
                    return
                message = f"service {step.service}: cannot pull {step.image}: {error}"
                raise ServiceError(message, service=step.service) from None
            reason = f"cannot pull it: {error}"
            stage.report(events.warning(Kind.IMAGE, step.image, "Skipped", reason))
            self.build(stage, build_step(stage.app, step.service))
            return
        stage.report(events.done(Kind.IMAGE, step.image, "Pulled"))

    def build(self, stage: Stage, step: BuildImage) -> None:
        """Build the image of a service.

        Raises:
            ServiceError: A step of the build fails, or the context cannot be read.
        """
        stage.report(events.working(Kind.IMAGE, step.image, "Building"))
        try:
            with stage.pool.client() as client:
                self._build(client, stage, step)
        except KedgeError as error:
            message = f"service {step.service}: cannot build {step.image}: {error}"
            raise ServiceError(message, service=step.service) from None
        stage.report(events.done(Kind.IMAGE, step.image, "Built"))

    def push(self, stage: Stage, step: PushImage) -> None:
        """Push the image of a service.

        Raises:
            ServiceError: It cannot be pushed.
        """
        stage.report(events.working(Kind.IMAGE, step.image, "Pushing"))
        try:
            with stage.pool.client() as client:
                _push(client, step.image)
        except KedgeError as error:
            if self._may_fail:
                stage.report(events.warning(Kind.IMAGE, step.image, "Skipped", str(error)))
                return
            message = f"service {step.service}: cannot push {step.image}: {error}"
            raise ServiceError(message, service=step.service) from None
        stage.report(events.done(Kind.IMAGE, step.image, "Pushed"))

    def _build(self, client: EngineClient, stage: Stage, step: BuildImage) -> None:
        build = step.build
        context = _context(build)
        secrets = [*self._flags.secrets, *_secrets(stage.app, build)]
        agents = [*self._flags.agents, *_agents(build)]
        response = client.request(
            "POST",
            "/build",
            self._query(stage.app, step, context.dockerfile),
            body=context.body,
            content_type="application/x-tar",
            headers={
                **registry_config_headers(CredentialStore(config_directory(os.environ))),
                **lent_headers(secrets, agents, stage.app.env),
            },
        )
        for line in _lines(checked(response.messages())):
            if not self._flags.quiet:
                stage.report(Event(Kind.IMAGE, step.image, "Building", Status.WORKING, output=line))
        for tag in texts(build, "tags"):
            reference = parse_reference(tag)
            query = {"repo": reference.name, "tag": reference.tag or "latest"}
            client.post(f"/images/{step.image}/tag", query).read()

    def _query(
        self, app: Application, step: BuildImage, dockerfile: str
    ) -> dict[str, str | bool | list[str]]:
        build = step.build
        for name in _NOT_HERE:
            if build.get(name) and build[name] != "false":
                raise NotSupportedError(f"build.{name} is not supported")
        given: dict[str, str] = {
            **{key: str(one) for key, one in mapping(build, "args").items() if one is not None},
            **self._flags.arguments,
        }
        proxies = proxy_environment([f"{key}={one}" for key, one in given.items()])
        given |= {key: one for key, _, one in (pair.partition("=") for pair in proxies)}
        own = {key: str(one) for key, one in mapping(build, "labels").items()}
        own |= {labels.PROJECT: app.name, labels.SERVICE: step.service}
        query: dict[str, str | bool | list[str]] = {
            "t": [step.image],
            "dockerfile": dockerfile,
            "nocache": self._flags.no_cache or truth(build.get("no_cache")),
            "pull": self._flags.pull or truth(build.get("pull")),
            "target": text(build, "target"),
            "platform": _platform(app, step),
            "networkmode": text(build, "network"),
            "extrahosts": [str(one).replace("=", ":", 1) for one in items(build, "extra_hosts")],
            "buildargs": json.dumps(given) if given else "",
            "labels": json.dumps(own),
            "cachefrom": json.dumps(texts(build, "cache_from")) if "cache_from" in build else "",
            "shmsize": str(parse_bytes(build["shm_size"])) if build.get("shm_size") else "",
            "memory": str(self._flags.memory_bytes or ""),
            "version": "1",
        }
        ulimits = [_ulimit(name, limit) for name, limit in mapping(build, "ulimits").items()]
        if ulimits:
            query["ulimits"] = json.dumps(ulimits)
        return query


def _ulimit(name: str, limit: Json) -> JsonObject:
    both = limit if isinstance(limit, dict) else {"soft": limit, "hard": limit}
    return {"Name": name, "Soft": int(str(both["soft"])), "Hard": int(str(both["hard"]))}


def _platform(app: Application, step: BuildImage) -> str:
    platforms = texts(step.build, "platforms")
    wanted = text(app.service(step.service), "platform")
    if wanted or not platforms:
        return wanted or app.env.get("DOCKER_DEFAULT_PLATFORM", "")
    if len(platforms) > 1:
        raise NotSupportedError("build.platforms: one platform at a time; name it in 'platform'")
    return platforms[0]


def _context(build: JsonObject) -> Context:
    where = text(build, "context") or "."
    if where.startswith(_REMOTE):
        raise NotSupportedError(f"cannot build from {where}: fetch it first, and name the folder")
    if mapping(build, "additional_contexts"):
        raise NotSupportedError("build.additional_contexts is not supported")
    check_folder(where)
    inline = build.get("dockerfile_inline")
    if isinstance(inline, str):
        body = stream_folder(where, dockerfile=_INLINE, extra={_INLINE: inline.encode()})
        return Context(body, _INLINE)
    return open_folder(where, os.path.join(where, text(build, "dockerfile") or "Dockerfile"))


def _secrets(app: Application, build: JsonObject) -> list[str]:
    found: list[str] = []
    for use in objects(build, "secrets"):
        source = text(use, "source")
        declared = mapping(app.model, "secrets", source)
        name = text(use, "target").rpartition("/")[2] or source
        if declared.get("file"):
            found.append(f"id={name},src={text(declared, 'file')}")
        elif declared.get("environment"):
            found.append(f"id={name},env={text(declared, 'environment')}")
        else:
            raise InvalidParameterError(f"build secret {source}: want a file or a variable")
    return found


def _agents(build: JsonObject) -> list[str]:
    return [
        f"{name}={path}" if path else name
        for name, path in (
            (name, "" if one is None else str(one)) for name, one in mapping(build, "ssh").items()
        )
    ]


def _lines(messages: Iterable[JsonObject]) -> Iterator[str]:
    """Yield what a build prints, whole lines at a time."""
    pending = ""
    for message in messages:
        pending += text(message, "stream")
        whole, newline, pending = pending.rpartition("\n")
        if newline:
            yield whole + newline
    if pending:
        yield pending + "\n"


def _pull(client: EngineClient, stage: Stage, step: PullImage) -> None:
    reference = parse_reference(step.image)
    query = {
        "fromImage": f"{reference.domain}/{reference.path}",
        "tag": reference.digest or reference.tag or "latest",
        "platform": step.platform,
    }
    store = CredentialStore(config_directory(os.environ))
    headers = registry_auth_headers(store, reference.domain)
    messages = client.request("POST", "/images/create", query, headers=headers).messages()
    layers: dict[str, tuple[int, int]] = {}
    for message in checked(messages):
        if text(message, "status") in _MOVING:
            layers[text(message, "id")] = (
                number(message, "progressDetail", "current"),
                number(message, "progressDetail", "total"),
            )
            stage.report(
                Event(
                    Kind.IMAGE, step.image, "Pulling", Status.WORKING,
                    current=sum(current for current, _ in layers.values()),
                    total=sum(total for _, total in layers.values()),
                )
            )  # fmt: skip


def _push(client: EngineClient, image: str) -> None:
    reference = parse_reference(image)
    store = CredentialStore(config_directory(os.environ))
    response = client.request(
        "POST",
        f"/images/{percent_encode(reference.name, keep='/:')}/push",
        {"tag": reference.tag or "latest"},
        headers=registry_auth_headers(store, reference.domain),
    )
    for _ in checked(response.messages()):
        pass
