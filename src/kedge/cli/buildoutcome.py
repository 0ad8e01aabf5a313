"""What a build came to: its messages shown, its outputs taken, its result written down."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final

from kedge.cli.buildoutputs import Outputs
from kedge.cli.exitcodes import FAILED, OK
from kedge.client.hosts import Host
from kedge.client.http import EngineClient
from kedge.errdefs import KedgeError, SystemFailureError
from kedge.lib.atomicfile import write_atomic
from kedge.lib.fields import mapping, number, pick, text
from kedge.lib.jsontypes import Json, JsonObject

PROGRESS: Final = ("auto", "plain", "tty", "rawjson", "quiet")
_DESCRIPTOR: Final = "containerimage.descriptor"


class Outcome:
    """Gathers what a build came to while its messages are shown."""

    def __init__(self, client: EngineClient, outputs: Outputs, *, progress: str) -> None:
        """Show progress as ``progress`` says."""
        self._client = client
        self._outputs = outputs
        self._progress = progress
        self._image = ""
        self._metadata: JsonObject = {}
        self._held: list[str] = []
        self._error = ""
        self._code = OK

    def show(self, messages: Iterable[JsonObject]) -> None:
        """Show messages until they end, and take the outputs they announce."""
        from kedge.cli.progress import show_progress  # noqa: PLC0415 - the body goes first

        # What a program reads from standard output must not be mixed with what people read.
        stream = sys.stderr if self._outputs.takes_stdout else sys.stdout
        if self._progress == "rawjson":
            for message in self._pass_on(messages, everything=True):
                sys.stderr.write(f"{json.dumps(message, ensure_ascii=False)}\n")
                sys.stderr.flush()
            return
        plain = self._progress in {"plain", "quiet"}
        show_progress(self._pass_on(messages), stream, plain=plain, bars=self._progress == "tty")

    def _pass_on(
        self, messages: Iterable[JsonObject], *, everything: bool = False
    ) -> Iterator[JsonObject]:
        """Yield what is to be shown; a failure ends it."""
        for message in messages:
            self._error = text(message, "errorDetail", "message") or text(message, "error")
            if self._error:
                self._code = number(message, "errorDetail", "code") or FAILED
                if everything:
                    yield message
                return
            if "aux" in message:
                self._note(message)
            if everything:
                yield message
            elif self._progress == "quiet":
                self._held.append(text(message, "stream"))
            elif "aux" not in message:
                yield message

    def _note(self, message: JsonObject) -> None:
        self._image = text(message, "aux", "ID") or self._image
        self._metadata |= mapping(message, "aux", "Export")
        if shell := text(message, "aux", "Shell", "Token"):
            _open_shell(self._client.host, shell, mapping(message, "aux", "Shell"))
        token = text(message, "aux", "Output", "Token")
        if token:
            sys.stdout.flush()
            self._outputs.receive(self._client, number(message, "aux", "Output", "Index"), token)

    def finish(self, *, iidfile: str, metadata: str) -> int:
        """Print the result, write the files that were asked for and return the exit code.

        Raises:
            SystemFailureError: One cannot be written.
        """
        if self._error:
            sys.stdout.flush()
            sys.stderr.write("".join(self._held))
            sys.stderr.write(f"kedge: build failed: {self._error}\n")
            return self._code
        # A build that was asked to be quiet says nothing but the id.
        held = "".join(self._held).strip()
        image = self._image or text(self._metadata, "containerimage.config.digest") or held
        if self._progress == "quiet" and not self._outputs.takes_stdout:
            sys.stdout.write(f"{image}\n")
        if iidfile:
            _write(iidfile, image)
        if metadata:
            _write(metadata, f"{json.dumps(self._described(image), indent=2)}\n")
        return OK

    def _described(self, image: str) -> JsonObject:
        """Return the metadata as buildx writes it: the descriptor as JSON, not as text."""
        described = dict(self._metadata)
        if image:
            described.setdefault("containerimage.config.digest", image)
            described.setdefault("containerimage.digest", image)
        packed = pick(described, _DESCRIPTOR)
        if isinstance(packed, str):
            import base64  # noqa: PLC0415 - rarely needed

            unpacked: Json = json.loads(base64.b64decode(packed))
            described[_DESCRIPTOR] = unpacked
        return dict(sorted(described.items()))


def _open_shell(host: Host, token: str, told: JsonObject) -> None:
    """Let the person look around where a step failed; the build waits meanwhile."""
    from kedge.cli.session import Session  # noqa: PLC0415 - rarely needed
    from kedge.cli.wanted import Wanted  # noqa: PLC0415

    sys.stdout.write(
        f"\n{text(told, 'Reason')}\n"
        f"Here is {text(told, 'Shell')} in the file system of this step; "
        "exit ends the build and removes everything.\n"
    )
    sys.stdout.flush()
    path = f"/build/shells/{token}"
    # The build's own connection goes on with its messages.
    with closing(EngineClient(host)) as opener, closing(EngineClient(host)) as control:
        session = Session(
            opener.hijack(path),
            Wanted(stdin=True, stdout=True, stderr=True, tty=True),
            resize_path=f"{path}/resize",
            control=control,
        )
        with session:
            session.run()


def _write(path: str, content: str) -> None:
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        else:
            write_atomic(path, content.encode())
    except (OSError, KedgeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SystemFailureError(f"cannot write {path}: {why}") from None
