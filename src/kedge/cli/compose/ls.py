"""``kedge compose ls``: the projects an engine has, found by their containers' labels."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from kedge.cli.command import Command
from kedge.cli.compose.projectflags import PROJECT_FLAGS
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, many, switch, value
from kedge.cli.listing import check_filter, print_listing
from kedge.cli.output import print_lines
from kedge.client.http import EngineClient
from kedge.compose import labels
from kedge.compose.observed import Container, list_containers
from kedge.errdefs import InvalidParameterError

_HEADERS: Final = {"Name": "NAME", "Status": "STATUS", "ConfigFiles": "CONFIG FILES"}


class ProjectLine(NamedTuple):
    """One project."""

    name: str
    status: str
    """``running(2)``, or several of them."""
    files: str


def _run(options: Options, client: EngineClient) -> int:
    wanted = [_name_filter(word) for word in options.texts("filter")]
    containers = list_containers(client)
    found = [
        one
        for one in projects(containers, stopped=options.on("all"))
        if all(part in one.name for part in wanted)
    ]
    if options.on("quiet"):
        print_lines([one.name for one in found])
    elif options.text("format") == "json":
        document = [{"Name": n, "Status": s, "ConfigFiles": f} for n, s, f in found]
        print_lines([json.dumps(document, ensure_ascii=False, separators=(",", ":"))])
    elif options.text("format") in {"", "table", "pretty"}:
        print_listing(
            [{"Name": n, "Status": s, "ConfigFiles": f} for n, s, f in found],
            headers=_HEADERS,
            columns=tuple(_HEADERS),
        )
    else:
        raise InvalidParameterError(f"unsupported format '{options.text('format')}': table or json")
    return OK


def _name_filter(word: str) -> str:
    name, _, content = word.partition("=")
    if name != "name":
        raise InvalidParameterError(f"unknown filter {name}: only name= is there")
    return content


def projects(containers: Iterable[Container], *, stopped: bool) -> list[ProjectLine]:
    """Return the projects of containers, by name; those where nothing runs only if ``stopped``."""
    groups: dict[str, list[Container]] = {}
    for one in containers:
        if not one.oneoff and (stopped or one.is_running):
            groups.setdefault(one.project, []).append(one)
    lines: list[ProjectLine] = []
    for name in sorted(groups):
        states = Counter(one.state for one in groups[name])
        files = dict.fromkeys(one.labels.get(labels.CONFIG_FILES, "") for one in groups[name])
        lines.append(
            ProjectLine(
                name,
                ", ".join(f"{state}({states[state]})" for state in sorted(states)),
                ",".join(path for path in files if path) or "N/A",
            )
        )
    return lines


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="List projects, those with a running container unless told otherwise",
    flags=(
        switch("all", "Show projects where nothing runs, too", short="a"),
        many("filter", "NAME=VALUE", "Show only what fits: name", check=check_filter,
             complete="name="),
        value("format", "FORMAT", "table or json", complete="table|json"),
        switch("quiet", "Print names only", short="q"),
        *PROJECT_FLAGS,
    ),
    run=_run,
    examples=(
        ("kedge compose ls", "Projects that run"),
        ("kedge compose ls -a --format json", "All projects, as JSON"),
    ),
    at_most=0,
)  # fmt: skip
