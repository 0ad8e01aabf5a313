"""Handing the listener of a seccomp filter to the agent that answers for the notified calls.

The process that becomes the program loads the filter, so the listener comes into being in there,
and the agent's socket is out here. The process sends the listener over the line it was started by,
as the last thing before `execve`; its parent passes it on, with the container's state
(config-linux.md, "The Container Process State"). Calls of the program wait until the agent answers.
"""

from __future__ import annotations

import errno
import os

from kedge.errdefs import InvalidParameterError, UnavailableError
from kedge.lib.hints import TYPE_CHECKING
from kedge.runtime.failures import reason

if TYPE_CHECKING:
    from typing import Final

    from kedge.oci.runtime_spec.types import Spec
    from kedge.oci.runtime_spec_seccomp import Seccomp


_NOTIFY: Final = "SCMP_ACT_NOTIFY"
# What sends the listener, with the filter in force and nobody there yet to answer for it.
_HANDING_OVER: Final = "sendmsg"
_CONNECT_WITHIN_S: Final = 10.0


def check_listener(profile: Seccomp) -> None:
    """Refuse a profile whose listener nobody could be given.

    Raises:
        InvalidParameterError: It notifies and names no agent, or of the call that tells the agent.
    """
    if _NOTIFY not in {profile.default_action, *(rule.action for rule in profile.syscalls)}:
        return
    if not profile.listener_path:
        raise InvalidParameterError(f"linux.seccomp.listenerPath is required for {_NOTIFY}")
    rules = [rule for rule in profile.syscalls if _HANDING_OVER in rule.names]
    decided = any(not rule.args for rule in rules)
    notified = any(rule.action == _NOTIFY for rule in rules)
    if notified or (profile.default_action == _NOTIFY and not decided):
        raise InvalidParameterError(
            f"linux.seccomp: {_HANDING_OVER} hands the listener over and cannot be {_NOTIFY}"
        )


def notify_agent(spec: Spec, state: bytes, pid: int, listener: int) -> None:
    """Send ``listener`` to the agent of the spec's profile, and close it.

    Args:
        spec: The container's.
        state: Its state document.
        pid: Whose calls the listener is about.
        listener: The descriptor.

    Raises:
        UnavailableError: The agent does not listen or does not take it.
    """
    import json  # noqa: PLC0415 - 13 ms, and hardly any container has an agent
    import socket  # noqa: PLC0415 - likewise

    profile = spec.linux.seccomp
    path = "" if profile is None else profile.listener_path
    document = {
        "ociVersion": spec.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "" if profile is None else profile.listener_metadata,
        "state": json.loads(state),
    }
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_CONNECT_WITHIN_S)
            agent.connect(path)
            body = json.dumps(document).encode()
            sent = socket.send_fds(agent, [body], [listener])
            agent.sendall(body[sent:])
    except OSError as error:
        why = "no answer" if error.errno in (None, errno.EAGAIN) else reason(error)
        raise UnavailableError(f"cannot reach the seccomp agent at {path}: {why}") from error
    finally:
        os.close(listener)
