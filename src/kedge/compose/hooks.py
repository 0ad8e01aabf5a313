"""Programs a service has run inside its containers: ``post_start`` and ``pre_stop``.

A hook that ends with another code than 0 fails the command, with what it printed.
"""

from collections.abc import Sequence

from kedge.client.http import EngineClient
from kedge.client.streams import Demultiplexer
from kedge.compose.containerconfig import (
    command_words,
    environment_list,
    hook_environment,
    truth,
)
from kedge.compose.stage import ServiceError
from kedge.lib.fields import number, text
from kedge.lib.jsontypes import JsonObject


def run_hooks(
    client: EngineClient, container: str, service: str, kind: str, hooks: Sequence[JsonObject]
) -> None:
    """Run hooks in a container, one after the other.

    Raises:
        ServiceError: One fails; nothing after it is run.
    """
    for hook in hooks:
        request: JsonObject = {
            "Cmd": [*command_words(hook)],
            "User": text(hook, "user"),
            "Privileged": truth(hook.get("privileged")),
            "WorkingDir": text(hook, "working_dir"),
            "Env": environment_list(hook_environment(hook)),
            "AttachStdout": True,
            "AttachStderr": True,
        }
        created = client.post(f"/containers/{container}/exec", None, request).object()
        exec_id = text(created, "Id")
        output = _run(client, exec_id)
        code = number(client.get(f"/exec/{exec_id}/json").object(), "ExitCode")
        if code:
            said = f": {' '.join(output.split())}" if output.strip() else ""
            message = f"service {service}: {kind} hook exited with status {code}{said}"
            raise ServiceError(message, service=service, container=container)


def _run(client: EngineClient, exec_id: str) -> str:
    start: JsonObject = {"Detach": False, "Tty": False}
    connection, pending, _ = client.hijack(f"/exec/{exec_id}/start", None, start)
    pieces: list[bytes] = []
    demultiplexer = Demultiplexer(lambda _stream, piece: pieces.append(piece))
    try:
        while pending:
            demultiplexer.feed(pending)
            pending = connection.recv(65536)
        while data := connection.recv(65536):
            demultiplexer.feed(data)
    finally:
        connection.close()
    return b"".join(pieces).decode("utf-8", "replace")
