"""Running the lifecycle hooks of a spec, each a program with the container's state on its stdin.

`posix_spawn` rather than fork, because a hook is none of ours and needs nothing of this process.
A hook that fails, is killed or exceeds its timeout fails the operation it belongs to (a poststart
hook too, since version 1.3), except poststop hooks, for which the specification wants a warning.
"""

from __future__ import annotations

import os

from kedge.errdefs import HookFailedError
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.signals import SIGCHLD, SIGKILL, SIGPIPE
from kedge.runtime.failures import reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.lib.jsontypes import JsonObject
    from kedge.oci.runtime_spec.types import Hook, Spec

_OUTPUT_SHOWN: Final = 1024
_POLL_MAX_MS: Final = (1 << 31) - 1


def state_document(spec: Spec, *, container_id: str, bundle: str, status: str, pid: int) -> bytes:
    """Return the container's state as the specification's JSON, which hooks read."""
    import json  # noqa: PLC0415 - 13 ms, and hardly any container has hooks

    document = {
        "ociVersion": spec.oci_version,
        "id": container_id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": dict(spec.annotations),
    }
    return json.dumps(document).encode()


def state_seen_inside(state: bytes, status: str) -> bytes:
    """Return ``state`` with this process's own pid, as its namespace numbers it, and ``status``."""
    import json  # noqa: PLC0415 - as above

    document: JsonObject = json.loads(state)
    return json.dumps({**document, "pid": os.getpid(), "status": status}).encode()


def run_hooks(kind: str, hooks: Sequence[Hook], state: bytes) -> None:
    """Run ``hooks`` one after the other with ``state`` on their stdin.

    Raises:
        HookFailedError: One of them failed; those after it were not run.
    """
    for hook in hooks:
        _run_hook(kind, hook, state)


def run_every_hook(kind: str, hooks: Sequence[Hook], state: bytes) -> list[str]:
    """Run ``hooks`` whatever becomes of each, and return what those that failed have to say."""
    said: list[str] = []
    for hook in hooks:
        try:
            _run_hook(kind, hook, state)
        except HookFailedError as error:
            said.append(str(error))
    return said


def _run_hook(kind: str, hook: Hook, state: bytes) -> None:
    stdin = os.memfd_create("state")
    output = os.memfd_create("output")
    try:
        os.write(stdin, state)
        os.lseek(stdin, 0, os.SEEK_SET)
        status = _wait(_spawn(kind, hook, stdin, output), hook.timeout_s)
        if status is None:
            raise HookFailedError(f"{kind} hook {hook.path} ran longer than {hook.timeout_s} s")
        if status:
            said = os.pread(output, _OUTPUT_SHOWN, 0).decode(errors="replace").strip()
            detail = f": {said}".replace("\n", "; ") if said else ""
            raise HookFailedError(f"{kind} hook {hook.path} failed with {status}{detail}")
    finally:
        os.close(stdin)
        os.close(output)


def _spawn(kind: str, hook: Hook, stdin: int, output: int) -> int:
    try:
        return os.posix_spawn(
            hook.path,
            list(hook.args) or [hook.path],
            _environment(hook),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsigdef=[SIGPIPE, SIGCHLD],
            setsigmask=[],
        )
    except OSError as error:
        raise HookFailedError(f"{kind} hook {hook.path}: {reason(error)}") from error


def _environment(hook: Hook) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in hook.env)}


def _wait(pid: int, timeout_s: int | None) -> int | None:
    """Return the exit code of ``pid``, or None after killing it for lateness."""
    import select  # noqa: PLC0415 - as above

    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        in_time = poll.poll(None if timeout_s is None else min(timeout_s * 1000, _POLL_MAX_MS))
        if not in_time:
            os.kill(pid, SIGKILL)
        status = os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(status) if in_time else None
