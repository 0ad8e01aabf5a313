"""Stages of a build that report at the same time, as whole lines with the stage's name.

The engine marks the messages of such stages with ``stage``: ``name``, ``begins`` with the first of
a step, ``ends`` with the last. A build of one stage has no marks and looks as it always did.
"""

from collections.abc import Iterable, Iterator

from kedge.lib.fields import text
from kedge.lib.jsontypes import JsonObject


def stage_lines(messages: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """Yield messages, the text of marked ones as lines that begin with the name of their stage.

    A line that a step has only begun waits for its end, so no two stages meet in one.
    """
    begun: dict[str, str] = {}
    for message in messages:
        name = text(message, "stage", "name")
        if not name:
            # What belongs to no stage comes when those before it have ended.
            yield from _rest(begun)
            yield message
        elif "stream" not in message:
            yield message
        else:
            *lines, begun[name] = (begun.get(name, "") + text(message, "stream")).split("\n")
            shown = "".join(_line(name, line) for line in lines)
            if shown or text(message, "stage", "begins"):
                yield {**message, "stream": shown}
    yield from _rest(begun)


def _rest(begun: dict[str, str]) -> Iterator[JsonObject]:
    for name, line in begun.items():
        if line:
            yield {"stream": _line(name, line)}
    begun.clear()


def _line(name: str, line: str) -> str:
    # A step that draws over its own line, as progress bars do, has said only the last of it.
    return f"[{name}] {line.rstrip(chr(13)).rpartition(chr(13))[2]}\n"
