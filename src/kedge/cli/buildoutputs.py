"""``kedge build --output``: where results go on this machine, and taking them from the engine.

The engine announces each output on the build's own stream with a token; the bytes come on a second
connection. A file appears under its name only when it is whole.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from typing import Final

from kedge.api.buildoutputs import (
    SENT_BACK,
    BuildOutput,
    OutputKind,
    make_output,
    parse_output,
    split_fields,
)
from kedge.cli.flags import Options, UsageError
from kedge.client.http import EngineClient
from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.lib.jsontypes import Json, JsonObject

_BAD_DESTINATION: Final = "output type={}: dest is required, such as type={},dest={}"


class Outputs:
    """The outputs of one build, as they were asked for."""

    def __init__(
        self, texts: Sequence[str], *, push: bool, load: bool, tags: Sequence[str]
    ) -> None:
        """Read the values of ``--output`` and what ``--push`` and ``--load`` add.

        Raises:
            UsageError: Two that contradict each other, or one without its destination.
            InvalidParameterError: One that cannot be read.
        """
        self._caches: list[BuildOutput] = []
        self.given: list[tuple[BuildOutput, JsonObject]] = [_parse(text) for text in texts]
        if push and not tags:
            raise UsageError("--push needs a name to push to: add --tag")
        if load or (push and not texts):
            self._add("image")
        if push:
            self._add("registry")
        for output, _ in self.given:
            _check(output)
        if sum(output.destination == "-" for output, _ in self.given) > 1:
            raise UsageError("only one output can go to standard output")

    def _add(self, kind: str) -> None:
        if all(output.kind != kind for output, _ in self.given):
            self.given.append((make_output(kind, {}), {"Type": kind, "Attrs": {}}))

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output belongs to a result, so that progress goes elsewhere."""
        return any(output.destination == "-" for output, _ in self.given)

    @property
    def keeps_image(self) -> bool:
        """Whether the engine's store has the image afterwards."""
        return not self.given or any(o.kind == OutputKind.IMAGE for o, _ in self.given)

    def query(self) -> str:
        """Return the ``outputs`` parameter of the request; empty for the engine's default."""
        wire: list[Json] = [document for _, document in self.given]
        return json.dumps(wire) if wire else ""

    def expect(self, folders: Sequence[str]) -> None:
        """Take local caches into these folders, which the engine sends after the outputs."""
        self._caches = [
            BuildOutput(kind=OutputKind.OCI, destination=folder, as_folder=True)
            for folder in folders
        ]

    def receive(self, client: EngineClient, index: int, token: str) -> None:
        """Fetch an output that the engine announced.

        Raises:
            SystemFailureError: It broke off, or cannot be written; nothing half-written is left.
        """
        output = [*(given for given, _ in self.given), *self._caches][index]
        with closing(EngineClient(client.host)) as other:
            pieces = other.get(f"/build/outputs/{token}").chunks()
            try:
                _write(output, pieces)
            except OSError as error:
                raise SystemFailureError(
                    f"cannot write {output.destination}: {(error.strerror or '').lower()}"
                ) from None


def _parse(text: str) -> tuple[BuildOutput, JsonObject]:
    output = parse_output(text)
    attributes: JsonObject = {}
    kind: str = output.kind
    if "=" in text:
        for item in split_fields(text):
            key, _, value = item.partition("=")
            attributes[key] = value
        kind = str(attributes.pop("type"))
        # Paths of this machine are nothing to the engine.
        attributes.pop("dest", None)
    return output, {"Type": kind, "Attrs": attributes}


def _check(output: BuildOutput) -> None:
    if output.kind not in SENT_BACK:
        return
    if not output.destination:
        example = "out" if output.kind == OutputKind.LOCAL else f"{output.kind}.tar"
        raise UsageError(_BAD_DESTINATION.format(output.kind, output.kind, example))
    is_folder = output.kind == OutputKind.LOCAL or output.as_folder
    if output.destination == "-":
        if is_folder:
            raise UsageError("a folder cannot go to standard output: use type=tar,dest=-")
        if sys.stdout.isatty():
            raise UsageError("an archive is nothing for a terminal: redirect it, or -o FILE")
    elif not is_folder and os.path.isdir(output.destination):
        raise InvalidParameterError(
            f"{output.destination} is a folder: name a file for type={output.kind}"
        )


def _write(output: BuildOutput, pieces: Iterable[bytes]) -> None:
    if output.destination == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    elif output.kind == OutputKind.LOCAL or output.as_folder:
        from kedge.cli.copytar import extract  # noqa: PLC0415 - only for folders

        os.makedirs(output.destination, exist_ok=True)
        extract(pieces, output.destination, old_base="", new_base="", owners=False)
    else:
        _write_file(output.destination, pieces)


def _write_file(path: str, pieces: Iterable[bytes]) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe is written to, never replaced.
        with open(path, "wb") as out:
            out.writelines(pieces)
        return
    import tempfile  # noqa: PLC0415 - only for files

    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(pieces)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(out.fileno(), 0o666 & ~mask)
        os.rename(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def outputs_of(options: Options) -> Outputs:
    """Return the outputs a command line asks for."""
    return Outputs(
        options.texts("output"),
        push=options.on("push"),
        load=options.on("load"),
        tags=options.texts("tag"),
    )
