"""``kedge inspect``: everything the engine knows about an object."""

from __future__ import annotations

import sys

from kedge.cli.command import Command
from kedge.cli.exitcodes import FAILED, OK
from kedge.cli.flags import Options, WordsError, switch, value
from kedge.cli.listing import print_objects
from kedge.cli.platforms import check_platform, platform_parameter
from kedge.client.http import EngineClient, Query, percent_encode
from kedge.errdefs import NotFoundError
from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


_PATHS: Final = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def _run(options: Options, client: EngineClient) -> int:
    wanted = options.text("type")
    if options.given("type") and wanted not in _PATHS:
        known = ", ".join(f'"{kind}"' for kind in _PATHS)
        raise WordsError(f'unknown type: "{wanted}": must be one of {known}')
    kinds = [wanted] if wanted else list(_PATHS)
    found: list[JsonObject] = []
    code = OK
    for name in options.words:
        document = _find(client, name, kinds, options)
        if document is None:
            code = FAILED
            what = kinds[0] if len(kinds) == 1 else "object"
            sys.stderr.write(f"kedge: no such {what}: {name}\n")
        else:
            found.append(document)
    print_objects(found, options.text("format"), default=lambda: _print_whole(found))
    return code


def _print_whole(found: Sequence[JsonObject]) -> None:
    import json  # noqa: PLC0415 - a template does without

    print(json.dumps(found, indent=4, ensure_ascii=False))


def _find(client: EngineClient, name: str, kinds: list[str], options: Options) -> JsonObject | None:
    queries: dict[str, Query] = {
        "container": {"size": options.on("size")},
        "image": {"platform": platform_parameter(options.text("platform"))},
        "network": {"verbose": options.on("verbose")},
        "volume": {},
    }
    for kind in kinds:
        path = _PATHS[kind].format(percent_encode(name, keep="/:@" if kind == "image" else ""))
        try:
            return client.get(path, queries[kind]).object()
        except NotFoundError:
            continue
    return None


COMMAND: Final = Command(
    usage="[OPTIONS] NAME|ID...",
    summary="Show everything about containers, images, networks or volumes as JSON",
    flags=(
        value("format", "TEMPLATE", "Print with a Go template, or 'json'", short="f"),
        switch("size", "Show how much disk space a container uses", short="s"),
        value("platform", "OS/ARCH", "Platform of an image", check=check_platform),
        switch("verbose", "Show more about a network", short="v"),
        value("type", "TYPE", "Look for this type only", complete="container|image|network|volume"),
    ),
    run=_run,
    examples=(
        ("kedge inspect web", "All about the container web"),
        ("kedge inspect -f '{{.State.Status}}' web", "One value"),
        ("kedge inspect -f '{{json .Config.Env}}' busybox", "A part of an image as JSON"),
    ),
    at_least=1,
    complete="container",
)
