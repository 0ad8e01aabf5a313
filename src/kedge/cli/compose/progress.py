"""Progress of a Compose command on standard error: on a terminal, as lines, as JSON, or not at all.

A verb opens it, hands `Progress.report` to whatever works, and closes it at the end::

    with open_progress(options, app.env, "up") as progress:
        execute(plan.steps, Performer(Stage(app, pool, progress.report), images))
"""

import os
import sys
from collections.abc import Mapping
from typing import Final

from kedge.cli.compose.showing import JsonProgress, Progress, QuietProgress
from kedge.cli.flags import Options
from kedge.errdefs import InvalidParameterError

__all__ = ["Progress", "open_progress"]

_MODES: Final = ("auto", "tty", "plain", "json", "quiet")


def open_progress(options: Options, env: Mapping[str, str], operation: str) -> Progress:
    """Return what shows the progress of ``operation`` as the user wants it.

    Raises:
        InvalidParameterError: ``--progress`` or ``COMPOSE_PROGRESS`` is no mode.
    """
    mode = options.text("progress") or env.get("COMPOSE_PROGRESS", "") or "auto"
    ansi = options.text("ansi") or env.get("COMPOSE_ANSI", "") or "auto"
    if mode not in _MODES:
        raise InvalidParameterError(
            f"unsupported --progress value {mode!r}: want {', '.join(_MODES)}"
        )
    if ansi not in {"auto", "never", "always"}:
        raise InvalidParameterError(
            f"unsupported --ansi value {ansi!r}: want auto, never or always"
        )
    stream = sys.stdout if env.get("COMPOSE_STATUS_STDOUT") in {"1", "true"} else sys.stderr
    if mode == "auto":
        draws = stream.isatty() and os.environ.get("TERM", "") != "dumb" and ansi != "never"
        mode = "tty" if draws else "plain"
    match mode:
        case "quiet":
            return QuietProgress(stream)
        case "json":
            return JsonProgress(stream)
        case "tty":
            from kedge.cli.compose.ttyprogress import TtyProgress  # noqa: PLC0415 - as wanted

            color = ansi == "always" or (ansi == "auto" and not os.environ.get("NO_COLOR"))
            return TtyProgress(stream, operation, color=color)
        case _:
            return Progress(stream)
