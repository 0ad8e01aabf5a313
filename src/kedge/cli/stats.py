"""``kedge stats``: what containers use, once or again every second."""

from __future__ import annotations

import sys
import time

from kedge.cli.command import Command
from kedge.cli.config import configured_format
from kedge.cli.exitcodes import OK
from kedge.cli.flags import Options, switch, value
from kedge.cli.listing import print_listing
from kedge.cli.output import show_id
from kedge.client.http import EngineClient, percent_encode
from kedge.errdefs import ConflictError, NotFoundError
from kedge.lib.fields import items, mapping, number, objects, text
from kedge.lib.hints import TYPE_CHECKING, NamedTuple
from kedge.lib.units import format_ram, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from kedge.lib.jsontypes import JsonObject


_INTERVAL_S: Final = 1.0
_HEADERS: Final = {
    "ID": "CONTAINER ID",
    "Container": "CONTAINER",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_COLUMNS: Final = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_HOME: Final = "\033[H"
_CLEAR_LINE: Final = "\033[K"
_CLEAR_BELOW: Final = "\033[J"


class CpuSample(NamedTuple):
    """Processor time at one moment, in nanoseconds."""

    used: int
    system: int


def _run(options: Options, client: EngineClient) -> int:
    def names() -> list[str]:
        if options.words:
            return options.words
        listed = client.get("/containers/json", {"all": options.on("all")}).objects()
        return [text(container, "Id") for container in listed]

    return show_stats(options, client, names, strict=bool(options.words))


def show_stats(
    options: Options, client: EngineClient, names: Callable[[], list[str]], *, strict: bool
) -> int:
    """Show what containers use, once with ``--no-stream``, else until interrupted.

    Args:
        options: ``no-stream``, ``no-trunc`` and ``format``.
        client: The engine.
        names: The containers there are at each moment.
        strict: Whether one that is not there is a failure.
    """
    once = options.on("no-stream")
    before: dict[str, CpuSample] = {}

    def sample() -> list[JsonObject]:
        return _sample(options, client, names(), before, strict=strict)

    # A share of CPU needs two samples.
    sample()
    if once or not sys.stdout.isatty():
        time.sleep(_INTERVAL_S)
        _print(options, sample())
        while not once:
            sys.stdout.flush()
            time.sleep(_INTERVAL_S)
            _print(options, sample())
        return OK
    sys.stdout.write("\033[2J")
    try:
        while True:
            _draw(options, sample())
            time.sleep(_INTERVAL_S)
    except KeyboardInterrupt:
        # The only way out of a table that goes on for ever.
        return OK


def _draw(options: Options, rows: list[JsonObject]) -> None:
    """Print over what is on the screen, without flicker."""
    import io  # noqa: PLC0415 - only on a terminal

    from kedge.cli.output import format_table, terminal_width  # noqa: PLC0415 - only on a terminal

    buffer = io.StringIO()
    if configured_format("statsFormat", options.text("format")):
        screen, sys.stdout = sys.stdout, buffer
        try:
            _print(options, rows)
        finally:
            sys.stdout = screen
    else:
        cells = [[text(row, column) for column in _COLUMNS] for row in rows]
        buffer.write(format_table([_HEADERS[c] for c in _COLUMNS], cells, terminal_width()))
    sys.stdout.write(_HOME + buffer.getvalue().replace("\n", f"{_CLEAR_LINE}\n") + _CLEAR_BELOW)
    sys.stdout.flush()


def _print(options: Options, rows: list[JsonObject]) -> None:
    print_listing(
        rows,
        headers=_HEADERS,
        columns=_COLUMNS,
        template=configured_format("statsFormat", options.text("format")),
    )


def _sample(
    options: Options,
    client: EngineClient,
    names: Sequence[str],
    before: dict[str, CpuSample],
    *,
    strict: bool,
) -> list[JsonObject]:
    rows: list[JsonObject] = []
    for name in names:
        try:
            path = f"/containers/{percent_encode(name)}/stats"
            document = client.get(path, {"stream": "0", "one-shot": True}).object()
        except (NotFoundError, ConflictError):
            if strict:
                raise
            # It went between the list and the question.
            continue
        rows.append(stats_row(document, before, name=name, truncate=not options.on("no-trunc")))
    return rows


def stats_row(
    document: JsonObject, before: dict[str, CpuSample], *, name: str, truncate: bool
) -> JsonObject:
    """Return the fields ``--format`` knows, and remember the sample for the next share of CPU."""
    container = text(document, "id") or name
    sample = CpuSample(
        number(document, "cpu_stats", "cpu_usage", "total_usage"),
        number(document, "cpu_stats", "system_cpu_usage"),
    )
    cpus = number(document, "cpu_stats", "online_cpus") or max(
        len(items(document, "cpu_stats", "cpu_usage", "percpu_usage")), 1
    )
    share = cpu_share(before.get(container, sample), sample, cpus)
    before[container] = sample
    used, limit = memory_usage(document), number(document, "memory_stats", "limit")
    received, sent = _network(document)
    read, written = _blocks(document)
    return {
        "ID": show_id(container, truncate=truncate),
        "Container": name,
        "Name": text(document, "name").removeprefix("/"),
        "CPUPerc": f"{share:.2f}%",
        "MemUsage": f"{format_ram(used)} / {format_ram(limit)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{format_size(received, digits=3)} / {format_size(sent, digits=3)}",
        "BlockIO": f"{format_size(read, digits=3)} / {format_size(written, digits=3)}",
        "PIDs": str(number(document, "pids_stats", "current")),
    }


def cpu_share(before: CpuSample, after: CpuSample, cpus: int) -> float:
    """Return the percentage of one CPU used between two samples, as Docker's client counts."""
    used, system = after.used - before.used, after.system - before.system
    return used / system * cpus * 100 if used > 0 and system > 0 else 0.0


def memory_usage(document: JsonObject) -> int:
    """Return the memory in use without the cache that can be dropped at once."""
    usage = number(document, "memory_stats", "usage")
    details = mapping(document, "memory_stats", "stats")
    for key in ("total_inactive_file", "inactive_file"):
        inactive = number(details, key)
        if key in details and inactive < usage:
            return usage - inactive
    return usage


def _network(document: JsonObject) -> tuple[int, int]:
    networks = mapping(document, "networks")
    received = sum(number(document, "networks", name, "rx_bytes") for name in networks)
    return received, sum(number(document, "networks", name, "tx_bytes") for name in networks)


def _blocks(document: JsonObject) -> tuple[int, int]:
    read = written = 0
    for entry in objects(document, "blkio_stats", "io_service_bytes_recursive"):
        operation = text(entry, "op").lower()
        if operation == "read":
            read += number(entry, "value")
        elif operation == "write":
            written += number(entry, "value")
    return read, written


COMMAND: Final = Command(
    usage="[OPTIONS] [CONTAINER...]",
    summary="Show how much CPU, memory, network and disk containers use, every second",
    flags=(
        switch("all", "Show stopped containers, too", short="a"),
        value("format", "TEMPLATE", "Print with a Go template, 'table TEMPLATE' or 'json'"),
        switch("no-stream", "Print once and end"),
        switch("no-trunc", "Do not cut anything short"),
    ),
    run=_run,
    examples=(
        ("kedge stats", "All running containers, until ctrl-c"),
        ("kedge stats --no-stream web", "One container, once"),
    ),
    complete="running",
)
