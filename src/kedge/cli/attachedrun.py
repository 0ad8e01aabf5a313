"""A container started with its streams connected; its exit code becomes the command's."""

from __future__ import annotations

from kedge.cli.exitcodes import OK
from kedge.cli.wanted import Wanted, open_wait
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.client.http import EngineClient, Response


def run_attached(
    client: EngineClient,
    container: str,
    wanted: Wanted,
    *,
    remove: bool,
    detach_keys: str,
    check_start: Callable[[Callable[[], Response]], int],
) -> int:
    """Attach, wait, start and move bytes; return the container's exit code.

    Args:
        client: The engine; its connection is used for signals afterwards.
        container: Id of a container that was created.
        wanted: Streams to connect.
        remove: Whether the engine removes the container at its end.
        detach_keys: Keys that leave it running; empty for the default.
        check_start: Ends the start, tells why it failed, and returns an exit code.
    """
    path = f"/containers/{container}"
    hijacked = client.hijack(
        f"{path}/attach",
        {
            "stream": True,
            "stdin": wanted.stdin,
            "stdout": wanted.stdout,
            "stderr": wanted.stderr,
            "detachKeys": detach_keys,
        },
    )
    waiter, read_code = open_wait(client, container, "removed" if remove else "next-exit")
    finish_start = client.begin_post(f"{path}/start", {"detachKeys": detach_keys})
    # The engine makes the container while this process loads the rest of its code.
    from kedge.cli.session import Session  # noqa: PLC0415 - see above

    session = Session(
        hijacked,
        wanted,
        resize_path=f"{path}/resize",
        control=client,
        kill_path=f"{path}/kill",
        detach_keys=detach_keys,
    )
    with session:
        code = check_start(finish_start)
        if code != OK:
            waiter.close()
            return code
        session.run()
        if session.has_detached:
            waiter.close()
            return OK
        return session.wait(waiter, read_code)
