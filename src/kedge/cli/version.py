"""``kedge version``: of the client and of the engine."""

from __future__ import annotations

import os
import platform
import sys

from kedge import __version__
from kedge.cli.command import Command
from kedge.cli.exitcodes import FAILED, OK
from kedge.cli.flags import Options, value
from kedge.cli.listing import print_objects
from kedge.cli.target import current_context
from kedge.client.http import API_VERSION, EngineClient
from kedge.errdefs import UnavailableError
from kedge.lib.fields import text
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    document: JsonObject = {
        "Client": {
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "DefaultAPIVersion": API_VERSION,
            "GitCommit": "",
            "GoVersion": f"python{platform.python_version()}",
            "PythonVersion": platform.python_version(),
            "Os": "linux",
            "Arch": platform.machine(),
            "BuildTime": "",
            "Context": current_context(os.environ),
        }
    }
    code = OK
    try:
        document["Server"] = client.get("/version").object()
    except UnavailableError as error:
        sys.stderr.write(f"kedge: {error}\n")
        code = FAILED
    print_objects([document], options.text("format"), default=lambda: _print(document))
    return code


def _print(document: JsonObject) -> None:
    lines = [
        "Client: kedge",
        f" Version:      {text(document, 'Client', 'Version')}",
        f" API version:  {text(document, 'Client', 'ApiVersion')}",
        f" Python:       {text(document, 'Client', 'PythonVersion')}",
        f" OS/Arch:      linux/{text(document, 'Client', 'Arch')}",
        f" Context:      {text(document, 'Client', 'Context')}",
    ]
    if "Server" in document:
        server = document["Server"]
        lines += [
            "",
            f"Engine: {text(server, 'Platform', 'Name')}",
            f" Version:      {text(server, 'Version')}",
            f" API version:  {text(server, 'ApiVersion')} (from {text(server, 'MinAPIVersion')})",
            f" Runs on:      {text(server, 'GoVersion')}",
            f" OS/Arch:      {text(server, 'Os')}/{text(server, 'Arch')}",
            f" Kernel:       {text(server, 'KernelVersion')}",
        ]
    sys.stdout.write("\n".join(lines) + "\n")


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show the version of this client and of the engine it talks to",
    flags=(value("format", "TEMPLATE", "Print with a Go template, or 'json'", short="f"),),
    run=_run,
    examples=(("kedge version --format '{{.Server.Version}}'", "The engine's version alone"),),
    at_most=0,
)
