"""Which versions of what engine and shim say to each other go together. Pure.

A shim lives as long as its container, so an engine meets shims of earlier versions after an
update, and of later ones after a step back. Each first message (``hello``) says what the shim
speaks and the oldest it understands. `PROTOCOL` grows with every change of the messages; `OLDEST`
follows only when an old partner would be misunderstood, and not merely be told of an operation it
does not know.

Whatever changes, every version's ``hello`` has ``id``, ``cgroup_path``, ``shim_pid``, ``state``,
``pid`` and ``started_at_ns``, and every version leaves `kedge.shim.exits`' file: enough to see a
container of another version end, and to end it.
"""

from typing import Final

from kedge.lib.jsontypes import JsonObject

PROTOCOL: Final = 2
OLDEST: Final = 1


def describe_protocol() -> JsonObject:
    """Return what this version says of itself in a ``hello``."""
    return {"protocol": PROTOCOL, "oldest_protocol": OLDEST}


def explain_misfit(hello: JsonObject, *, protocol: int = PROTOCOL, oldest: int = OLDEST) -> str:
    """Return why an engine cannot talk to the shim that said ``hello``, or nothing.

    Args:
        hello: Its first message; the first version's says nothing of a protocol.
        protocol: What the engine speaks.
        oldest: The oldest it understands.
    """
    theirs, their_oldest = _number(hello, "protocol"), _number(hello, "oldest_protocol")
    if oldest <= theirs and their_oldest <= protocol:
        return ""
    age = "a newer" if their_oldest > protocol else "an older"
    return (
        f"container {str(hello.get('id'))[:12]} was started by {age} kedge (shim protocol "
        f"{theirs}, this engine speaks {oldest} to {protocol}): it runs on, and can be "
        "stopped, killed and removed; restart it to use everything else"
    )


def _number(hello: JsonObject, key: str) -> int:
    value = hello.get(key, 1)
    return value if isinstance(value, int) else 0
