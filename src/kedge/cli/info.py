"""``kedge info``: facts about the engine and its host."""

from __future__ import annotations

import os
import sys

from kedge import __version__
from kedge.cli.command import Command
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, value
from kedge.cli.listing import print_objects
from kedge.cli.target import current_context
from kedge.lib.fields import flag, items, mapping, number, text, texts
from kedge.lib.hints import TYPE_CHECKING
from kedge.lib.units import format_ram

if TYPE_CHECKING:
    from typing import Final

    from kedge.client.http import EngineClient
    from kedge.lib.jsontypes import JsonObject


def _run(options: Options, client: EngineClient) -> int:
    document = client.get("/info").object()
    document["ClientInfo"] = {
        "Debug": False,
        "Version": __version__,
        "Context": current_context(os.environ),
        "Plugins": [],
        "Warnings": None,
    }
    print_objects([document], options.text("format"), default=lambda: _print(document, client))
    return OK


def _print(info: JsonObject, client: EngineClient) -> None:
    drivers = mapping(info, "Plugins")
    registries = mapping(info, "RegistryConfig")
    lines = [
        f"Engine:           {text(info, 'ServerVersion')} at {client.host}",
        f"Containers:       {number(info, 'Containers')} ({_states(info)})",
        f"Images:           {number(info, 'Images')}",
        f"Storage driver:   {text(info, 'Driver')}",
        *(
            f"  {' '.join(f'{cell}' for cell in texts({'': row}, ''))}"
            for row in items(info, "DriverStatus")
        ),
        f"Root directory:   {text(info, 'DockerRootDir')}",
        f"Log driver:       {text(info, 'LoggingDriver')} (all: {_joined(drivers, 'Log')})",
        f"Networks:         {_joined(drivers, 'Network')}",
        f"Volumes:          {_joined(drivers, 'Volume')}",
        f"Cgroups:          {text(info, 'CgroupDriver')}, version {text(info, 'CgroupVersion')}",
        f"Runtime:          {text(info, 'DefaultRuntime')}",
        f"Security:         {', '.join(texts(info, 'SecurityOptions'))}",
        f"Live restore:     {'on' if flag(info, 'LiveRestoreEnabled') else 'off'}",
        f"Insecure regs.:   {_joined(registries, 'InsecureRegistryCIDRs')}",
        f"Registry mirrors: {_joined(registries, 'Mirrors') or 'none'}",
        "",
        f"Host:             {text(info, 'Name')}",
        f"System:           {text(info, 'OperatingSystem')}, {text(info, 'Architecture')}",
        f"Kernel:           {text(info, 'KernelVersion')}",
        f"CPUs:             {number(info, 'NCPU')}",
        f"Memory:           {format_ram(number(info, 'MemTotal'))}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    for warning in texts(info, "Warnings"):
        sys.stderr.write(f"{warning}\n")


def _states(info: JsonObject) -> str:
    states = ("Running", "Paused", "Stopped")
    return ", ".join(f"{number(info, f'Containers{state}')} {state.lower()}" for state in states)


def _joined(owner: JsonObject, name: str) -> str:
    return ", ".join(texts(owner, name))


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Show facts about the engine: what it runs, where it keeps things, and its host",
    flags=(value("format", "TEMPLATE", "Print with a Go template, or 'json'", short="f"),),
    run=_run,
    examples=(("kedge info -f '{{.NCPU}} CPUs, {{.CgroupVersion}}'", "Two facts"),),
    at_most=0,
)
