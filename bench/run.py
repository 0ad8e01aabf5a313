"""``make bench``: kedge beside dockerd and podman, in one run, interleaved.

It needs root, because all of them do. Engines that are not installed are left out and the table
says so. Nothing stays on the host; nothing is written unless ``--write`` names the page.
"""

import argparse
import contextlib
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench import builds, engines, material, networks, registries, rows, runtimes, sessions, stacks  # noqa: E402 - the folder is no installed package
from bench.measure import Row, format_rows  # noqa: E402
from bench.processes import MeasureError, isolate, run  # noqa: E402
from bench.targets import format_numbers  # noqa: E402

_BEGIN: Final = "<!-- bench: begin -->"
_END: Final = "<!-- bench: end -->"
_CGROUP_PARENTS: Final = (
    *("libpod_parent/conmon", "libpod_parent"),
    *("docker", "kedge/shared", "kedge", "kedge-bench"),
)
_ROWS: Final = (
    "run",
    "share",
    "exec",
    "rebuild",
    "memory",
    *sessions.NAMES,
    *stacks.NAMES,
    *builds.NAMES,
    *networks.NAMES,
    *registries.NAMES,
    *runtimes.NAMES,
)


def main() -> None:
    """Measure, print, and replace the table in the page that is asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs of each contender")
    parser.add_argument("--pulls", type=int, default=7, help="runs of the rows about registries")
    parser.add_argument("--only", choices=_ROWS, action="append", help="this row alone")
    parser.add_argument("--session-runs", type=int, default=3, help="runs of each x- number")
    parser.add_argument(
        "--intake-mb", type=int, default=256, help="how much the x-intake container prints"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make bench needs root for namespaces and mounts: run  sudo make bench")
    isolate()
    wanted: set[str] = set(options.only or _ROWS)
    try:
        with _no_cgroups_left():
            text = ""
            if not wanted.issubset(runtimes.NAMES):
                text = _measure(
                    wanted,
                    runs=options.runs,
                    pulls=options.pulls,
                    session_runs=options.session_runs,
                    sizes=sessions.Sizes(intake_mb=options.intake_mb),
                )
            if not wanted.isdisjoint(runtimes.NAMES):
                text = "\n\n".join(filter(None, (text, _measure_runtimes(wanted, options.runs))))
    except MeasureError as failure:
        sys.exit(f"bench: {failure}")
    sys.stdout.write(f"{text}\n")
    if options.write is not None:
        _replace(options.write, text)


def _measure(
    wanted: set[str], *, runs: int, pulls: int, session_runs: int, sizes: sessions.Sizes
) -> str:
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kedge-bench-")))
        archive = material.busybox_root()
        field = rows.Field(
            kedged=stack.enter_context(
                engines.open_kedged(root / "kedge", material.busybox_context())
            ),
            dockerd=stack.enter_context(engines.open_dockerd(root / "docker", archive)),
            podman=engines.make_podman(root / "podman", archive),
        )
        context = root / "context"
        material.write_build_context(context)
        made: list[Row] = []

        def take(row: Row, count: int = runs) -> None:
            sys.stderr.write(f"measuring: {row.title}\n")
            row.measure(count)
            made.append(row)

        if "run" in wanted:
            take(rows.row_run(field))
        if "share" in wanted:
            take(rows.row_share(field))
        if "exec" in wanted:
            with rows.row_exec(field) as row:
                take(row)
        if "rebuild" in wanted:
            take(rows.row_rebuild(field, context))
        if not wanted.isdisjoint(registries.NAMES):
            made += registries.measure(field, wanted, root, pulls)
        memory = rows.measure_memory(field) if "memory" in wanted else []
        numbers = sessions.measure(field, wanted, sizes, session_runs)
        numbers += stacks.measure(field, wanted, session_runs)
        numbers += networks.measure(field, wanted, session_runs, root / "networks")
        if not wanted.isdisjoint(builds.NAMES):
            numbers += builds.measure(field, wanted, root / "builds", session_runs)
        parts = [
            _describe(field, runs),
            format_rows(made) if made else "",
            "\n".join(memory),
            format_numbers(numbers, session_runs) if numbers else "",
        ]
        return "\n\n".join(part for part in parts if part)


def _measure_runtimes(wanted: set[str], runs: int) -> str:
    with tempfile.TemporaryDirectory(prefix="kedge-bench-") as root:
        numbers = runtimes.measure(wanted, Path(root) / "runtimes", runs)
    versions = [_version([name, "--version"]) for name in ("runc", "crun")]
    return f"{'; '.join(filter(None, versions))}. {format_numbers(numbers, runs)}"


def _describe(field: rows.Field, runs: int) -> str:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.findall(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[0]) >> 20
    versions = [_version([*engines.KEDGE_CLI, "--version"]), _version(["docker", "--version"])]
    if field.dockerd is not None:
        versions += [_version(["dockerd", "--version"]), _version(["runc", "--version"])]
    if field.podman:
        versions += [_version(["podman", "--version"]), _version(["crun", "--version"])]
    load = os.getloadavg()[1]
    cgroups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs ({names[0] if names else '?'}), "
        f"{memory} GiB, Linux {platform.release()}, cgroup {cgroups}, "
        f"Python {platform.python_version()}, load {load:.1f}; {runs} interleaved runs of each.\n\n"
        f"Versions: {'; '.join(version for version in versions if version)}."
    )


def _version(words: list[str]) -> str:
    try:
        return run(words).strip().splitlines()[0].strip()
    except (MeasureError, IndexError):
        return ""


@contextlib.contextmanager
def _no_cgroups_left() -> Generator[None, None, None]:
    """Remove the empty parent cgroups the engines make, unless they were there before."""
    before = {path for path in _cgroup_parents() if path.exists()}
    yield
    for path in _cgroup_parents():
        if path not in before:
            with contextlib.suppress(OSError):
                path.rmdir()


def _cgroup_parents() -> list[Path]:
    top = Path("/sys/fs/cgroup")
    return [base / name for base in (top, *top.glob("*/")) for name in _CGROUP_PARENTS]


def _replace(page: Path, text: str) -> None:
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.exit(f"bench: {page} has no {_BEGIN} and {_END}")
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")


if __name__ == "__main__":
    main()
