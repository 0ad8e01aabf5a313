"""``python -m tests.vm``: boot each kernel, run its tests in there, print and keep what they say.

With words after ``--``, these are run instead, in a machine with the first kernel.
"""

import argparse
import datetime as dt
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.vm.kernel import Kernel, load_kernel
from tests.vm.machine import Job, Outcome, make_disk, run_in_machine
from tests.vm.record import TITLE, keep

_ROOT = Path(__file__).parents[2]
_PYTEST = ("-m", "pytest", "-m", "", "-v", "--no-header", "--tb=short", "-p", "no:cacheprovider",
           "-o", "faulthandler_timeout=0", "-W", "error")  # fmt: skip
_FLAGS = "tests/integration/run_flags"
_LIVE = "tests/integration/cgroups_live"
# What shows cgroup v2: each limit in the kernel, then through an engine and the docker CLI.
_CGROUPS = (f"{_LIVE}/test_v2.py", f"{_LIVE}/test_v2_limits.py")
_ENGINE = (
    f"{_FLAGS}/test_effects.py::test_cgroup_values",
    f"{_FLAGS}/test_effects.py::test_cgroup_parent",
    f"{_FLAGS}/test_update_and_exec.py",
    f"{_FLAGS}/test_limits_hold.py::test_the_first_process_out_of_memory",
    f"{_FLAGS}/test_limits_hold.py::test_another_process_out_of_memory_is_told_while_the_container_lives",
    f"{_FLAGS}/test_limits_hold.py::test_a_fork_bomb_stays_where_it_is",
    f"{_FLAGS}/test_unified.py",
)
# Links and sockets that many a kernel is built without.
_NETWORKS = (
    *("tests/integration/network_live/test_optional_protocols.py", "tests/contract/network"),
    *("-k", "optional_protocols or (ipvlan and kernel)"),
)
# An emulated processor on a busy host now and then fails before there is user space.
_BOOTS = 3
_REBOOT = "tests/vm/reboot.py::test_"


class Stage(NamedTuple):
    """One boot: its title, the tests, whether it ends with a power cut."""

    title: str
    tests: tuple[str, ...]
    power_cut: bool = False


STAGES = (
    Stage("limits, accounting, freezer and devices in the kernel", _CGROUPS),
    Stage("an engine and its containers", _ENGINE),
    Stage(
        "containers with policies, then a power cut",
        (f"{_REBOOT}before_the_power_cut",),
        power_cut=True,
    ),
    Stage("the same disk in the next boot", (f"{_REBOOT}after_the_power_cut",)),
    Stage("ipvlan networks and SCTP ports", _NETWORKS),
)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(kernel: Kernel, words: tuple[str, ...], work: Path, *, power_cut: bool = False) -> Outcome:
    job = Job(words, _ROOT, power_cut)
    for _ in range(_BOOTS):
        outcome = run_in_machine(kernel, job, work, disk=work / "disk", within_s=3600, show=_say)
        if outcome.up_s:
            return outcome
        _say(outcome.output)
    sys.exit(f"kedge: test-vm: {kernel.release} did not reach user space in {_BOOTS} boots")


def _stage(kernel: Kernel, stage: Stage, work: Path) -> tuple[str, bool]:
    """Run one stage; return its part of the record and whether all is well."""
    title = f"{TITLE}{kernel.release}: {stage.title}"
    moment = _moment()
    _say(f"{title}\n{moment}")
    words = (sys.executable, *_PYTEST, *stage.tests)
    # Collected once here: the machine sees this tree read-only, and cannot keep what it compiles.
    subprocess.run(
        [*words, "--collect-only", "-q"], cwd=_ROOT, check=True, stdout=subprocess.DEVNULL
    )
    outcome = _run(kernel, words, work, power_cut=stage.power_cut)
    last = f"user space after {outcome.up_s} s; the whole took {outcome.took_s:.0f} s"
    if outcome.status != 0:
        last += f"; FAILED with status {outcome.status}"
    _say(last)
    return f"{title}\n{moment}\n{outcome.output}\n{last}\n", outcome.status == 0


def _moment() -> str:
    git = ("git", "-C", str(_ROOT), "-c", f"safe.directory={_ROOT}")
    commit = subprocess.run(
        [*git, "describe", "--always"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{dt.datetime.now(dt.UTC).date().isoformat()}, commit {commit or 'unknown'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm")
    parser.add_argument("--kernel", action="append", type=Path, required=True)
    parser.add_argument("--stage", action="append", type=int, help="only this one")
    parser.add_argument("--record", type=Path, help="keep what is printed in this file")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    # So that a machine ends with whoever started it.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    kernels = [load_kernel(folder.resolve()) for folder in options.kernel]
    good = True
    with tempfile.TemporaryDirectory(prefix="kedge-vm-", dir="/var/tmp") as folder:
        work = Path(folder)
        make_disk(work / "disk")
        if options.words:
            return _run(kernels[0], tuple(options.words), work).status
        for kernel in kernels:
            make_disk(work / "disk")
            for number, stage in enumerate(STAGES, 1):
                if not options.stage or number in options.stage:
                    text, is_good = _stage(kernel, stage, work)
                    if options.record:
                        # At once: a later stage may take an hour, or fail.
                        keep(options.record, text)
                    good = good and is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
