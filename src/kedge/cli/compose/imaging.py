"""Images for services: pulled as ``kedge pull`` does, built as ``kedge build`` does."""

import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from kedge.cli.build import COMMAND, send_build
from kedge.cli.buildoutputs import Outputs, outputs_of
from kedge.cli.compose.buildflags import BuildFlags
from kedge.cli.flags import read_options
from kedge.cli.progress import checked
from kedge.cli.stagelines import stage_lines
from kedge.client.credentials import CredentialStore, config_directory, registry_auth_headers
from kedge.client.http import EngineClient, percent_encode
from kedge.compose import events
from kedge.compose.buildwords import build_words
from kedge.compose.events import Event, Kind, Status
from kedge.compose.images import build_step
from kedge.compose.stage import ServiceError, Stage
from kedge.compose.steps import BuildImage, PullImage, PushImage
from kedge.errdefs import KedgeError
from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject
from kedge.oci.references import parse_reference

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
        with _dockerfile(step.build) as path:
            # The last value counts, so what was typed stands behind what the file says.
            words = [*build_words(stage.app, step, path), *self._words()]
            options = read_options(COMMAND.flags, words, interspersed=True)
            outputs = outputs_of(options)
            messages = send_build(options, client, outputs, stage.app.env).messages()
            for line in _lines(_taken(client, outputs, stage_lines(checked(messages)))):
                if not self._flags.quiet:
                    stage.report(
                        Event(Kind.IMAGE, step.image, "Building", Status.WORKING, output=line)
                    )

    def _words(self) -> list[str]:
        flags = self._flags
        words = [f"--build-arg={key}={one}" for key, one in flags.arguments.items()]
        words += [f"--ssh={one}" for one in flags.agents]
        words += [f"{name}={one}" for name, one in (
            ("--memory", flags.memory), ("--provenance", flags.provenance), ("--sbom", flags.sbom),
        ) if one]  # fmt: skip
        words += ["--no-cache"] if flags.no_cache else []
        return words + (["--pull"] if flags.pull else [])


@contextmanager
def _dockerfile(build: JsonObject) -> Generator[str]:
    """Yield the path of a build's Dockerfile; one that stands in the Compose file gets one."""
    inline, context = build.get("dockerfile_inline"), text(build, "context")
    name = text(build, "dockerfile")
    if not isinstance(inline, str):
        is_folder = os.path.isdir(context) and name
        yield os.path.join(context, name) if is_folder else name
        return
    with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile", encoding="utf-8") as file:
        file.write(inline)
        file.flush()
        yield file.name


def _taken(
    client: EngineClient, outputs: Outputs, messages: Iterable[JsonObject]
) -> Iterator[JsonObject]:
    """Take what a build hands back, such as a cache for a folder, and pass messages on."""
    for message in messages:
        token = text(message, "aux", "Output", "Token")
        if token:
            outputs.receive(client, number(message, "aux", "Output", "Index"), token)
        yield message


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
