"""Every flag of a build over the three front doors: docker without and with buildx, and kedge.

The flags whose work a step can see are given together, in one build for each door, and each has a
line of that step's output to itself. The others change what comes out or what is printed, and the
rest is shown by the tests that `ELSEWHERE` names. A flag that a client knows and no table has is a
failure, so that a new client cannot bring one unseen.
"""

import json
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.integration.build_language import test_checks as checks
from tests.integration.build_language import test_contexts as contexts
from tests.integration.build_mounts import test_run_mounts as mounts
from tests.integration.engine_build import test_debug_shell as debug_shell
from tests.integration.engine_build import test_step_limits as limits
from tests.interop.build_outputs import test_attestations as attestations
from tests.interop.build_outputs import test_outputs as outputs
from tests.interop.build_outputs import test_remote_cache as caches
from tests.interop.buildx import test_build as stock
from tests.interop.buildx import test_elsewhere as stock_elsewhere
from tests.interop.buildx import test_lent as stock_lent
from tests.interop.buildx import test_outputs as stock_outputs
from tests.interop.buildx.client import Buildx
from tests.unit.cli import test_contextreport as reports

pytestmark = pytest.mark.interop

CLASSIC, BUILDX, KEDGE = "docker", "buildx", "kedge"
DOORS = (CLASSIC, BUILDX, KEDGE)


class Seen(NamedTuple):
    """A flag whose work a step sees."""

    words: str
    command: str
    """What the step runs to see it."""
    output: str
    doors: tuple[str, ...] = DOORS
    mounts: str = ""


SEEN = (
    Seen("--add-host special:10.9.8.7", "grep special /etc/hosts", "10.9.8.7\tspecial"),
    Seen("--build-arg GIVEN=value", 'echo "$GIVEN"', "value"),
    Seen("--cgroup-parent /kedge-flags", "grep -c /kedge-flags/ /proc/self/cgroup", "several"),
    Seen("--cpuset-cpus 0", "grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0"),
    Seen("--network none", "ls /sys/class/net", "lo"),
    Seen("--shm-size 8m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "8192"),
    Seen("--ulimit nofile=321:654", "ulimit -n", "321"),
    Seen("--memory 64m", "true", ""),
    Seen("--memory-swap 64m", "true", ""),
    Seen("--cpu-shares 512", "true", ""),
    Seen("--cpu-period 100000", "true", ""),
    Seen("--cpu-quota 90000", "true", ""),
    Seen("--cpuset-mems 0", "grep Mems_allowed_list /proc/self/status", "Mems_allowed_list:\t0"),
    Seen(
        "--secret id=word,src=word", "cat /run/secrets/word", "hush", (BUILDX, KEDGE),
        "--mount=type=secret,id=word",
    ),
    Seen(
        "--build-context more=more", "cat /more/file", "from elsewhere", (BUILDX, KEDGE),
        "--mount=from=more,target=/more",
    ),
)  # fmt: skip
"""``--memory`` and its like leave nothing in a step's sight: `test_step_limits` hits them."""

RESULTS = ("--tag", "--label", "--target", "--file", "--iidfile", "--platform", "--quiet")
WITHOUT_EFFECT = {
    "--rm": (CLASSIC, KEDGE),
    "--force-rm": (CLASSIC, KEDGE),
    "--compress": (CLASSIC, KEDGE),
    "--isolation default": (CLASSIC,),
    "--disable-content-trust": (CLASSIC,),
    "--builder default": (BUILDX,),
    "--debug": (BUILDX,),
    "--annotation org.example=x": (BUILDX,),
    "--policy reset=true": (BUILDX,),
    "--resource memory=64m": (BUILDX,),
    "--host-certs=false": (KEDGE,),
    "--no-host-certs": (KEDGE,),
    "--progress plain": (BUILDX, KEDGE),
    "--metadata-file metadata": (BUILDX, KEDGE),
    "--load": (BUILDX, KEDGE),
}
REFUSED = {
    "--squash": ((CLASSIC,), "only supported on a Docker daemon with experimental features"),
    "--security-opt seccomp=unconfined": ((CLASSIC, KEDGE), "--security-opt of a build"),
    "--pull": (DOORS, "connection refused"),
}
ELSEWHERE: dict[str, tuple[object, ...]] = {
    "--allow": (stock_elsewhere.test_rights_have_to_be_given,),
    "--attest": (stock_elsewhere.test_what_an_image_says_of_itself,),
    "--build-context": (contexts.test_folders_and_images_by_name,),
    "--cache-from": (stock_elsewhere.test_a_cache_in_a_folder, caches.test_a_folder_as_cache),
    "--cache-to": (stock_elsewhere.test_a_cache_in_the_image,),
    "--call": (stock.test_checks_outline_and_targets, checks.test_calls_answer_as_text_and_json),
    "--check": (stock.test_checks_outline_and_targets, checks.test_a_check_builds_nothing),
    "--debug-shell": (debug_shell.test_a_person_looks_around_where_a_step_failed,),
    "--explain-context": (reports.test_the_largest_files_and_the_line_that_keeps_one,),
    "--memory": (limits.test_memory_and_processors_are_limited,),
    "--no-cache": (stock.test_the_options_of_a_build,),
    "--no-cache-filter": (
        stock.test_the_options_of_a_build,
        outputs.test_steps_of_a_stage_run_again,
    ),
    "--output": (
        stock_outputs.test_files_come_back,
        outputs.test_files_in_a_folder_and_in_an_archive,
    ),
    "--provenance": (attestations.test_where_an_image_comes_from,),
    "--push": (
        stock_outputs.test_images_and_cache_go_to_a_registry,
        outputs.test_push_and_load_flags,
    ),
    "--sbom": (attestations.test_the_packages_of_an_image,),
    "--ssh": (stock_lent.test_an_agent_is_forwarded, mounts.test_an_agent_is_lent),
}


class Door:
    """One client that builds the folder of a test."""

    def __init__(self, name: str, user: Buildx) -> None:
        self.name = name
        self.user = user

    def run(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run ``build`` with these words."""
        if self.name == KEDGE:
            done = subprocess.run(
                [sys.executable, "-c", "from kedge.cli.main import main; main()", "build", *words],
                cwd=self.user.folder, env=self.user.environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
        else:
            switch = {"DOCKER_BUILDKIT": "0"} if self.name == CLASSIC else {}
            done = self.user.run("build", *words, check=False, environment=switch)
        assert not check or done.returncode == 0, (self.name, words, done.stdout, done.stderr)
        return done


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, buildx: Buildx) -> Door:
    return Door(str(request.param), buildx)


def test_what_a_step_sees(door: Door) -> None:
    rows = [row for row in SEEN if door.name in row.doors]
    shown = " ".join(row.mounts for row in rows if row.mounts)
    commands = "".join(f"{row.command} > /seen/{n}\n" for n, row in enumerate(rows))
    run = f"RUN {shown} <<EOF\nmkdir /seen\n{commands}EOF\n"
    door.user.write(
        {
            "Dockerfile": f"FROM busybox\nARG GIVEN\n{run}",
            "word": "hush", "more/file": "from elsewhere",
        }
    )  # fmt: skip
    tag = f"flags-seen-{door.name}"
    door.run("-t", tag, *(word for row in rows for word in row.words.split()), ".")
    shown = door.user.output_of(
        tag, "sh", "-c", f"for n in $(seq 0 {len(rows) - 1}); do cat /seen/$n; echo; echo --; done"
    )
    found = [text.strip() for text in shown.split("--\n")]
    for row, text in zip(rows, found, strict=False):
        if row.output == "several":
            assert int(text) > 0, row
        else:
            assert text == row.output, row


def test_what_comes_out(door: Door) -> None:
    door.user.write({"Other": "FROM busybox AS one\nRUN true\nFROM one\nRUN false\n"})
    tag = f"flags-out-{door.name}"
    done = door.run(
        "-q", "--tag", tag, "--label", "by=flag", "--target", "one", "--file", "Other",
        "--iidfile", "id", "--platform", "linux", ".",
    )  # fmt: skip
    facts = door.user.inspect(tag)
    assert done.stdout.strip() == facts["Id"] == (door.user.folder / "id").read_text().strip()
    config = facts["Config"]
    assert isinstance(config, dict)
    assert config["Labels"] == {"by": "flag"}


def test_what_makes_no_difference_here(door: Door) -> None:
    door.user.write({"Dockerfile": "FROM busybox\nRUN true\n"})
    words = [
        word
        for flag, doors in WITHOUT_EFFECT.items()
        if door.name in doors
        for word in flag.split()
    ]
    if door.name == KEDGE:
        words.remove("--no-host-certs")  # says the same as the other
    door.run(*words, "-t", f"flags-same-{door.name}", ".")
    if door.name != CLASSIC:
        written = json.loads((door.user.folder / "metadata").read_text())
        assert (
            written["containerimage.digest"] == door.user.inspect(f"flags-same-{door.name}")["Id"]
        )


def test_what_is_refused(door: Door) -> None:
    door.user.write({"Dockerfile": "FROM localhost:1/none\nRUN true\n"})
    for flag, (doors, why) in REFUSED.items():
        if door.name in doors:
            done = door.run(*flag.split(), ".", check=False)
            assert done.returncode != 0
            assert why in done.stdout + done.stderr, flag


def test_no_flag_is_overlooked(door: Door) -> None:
    told = door.run("--help").stdout
    known = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    assert len(known) > 20
    tables = {row.words.split()[0] for row in SEEN} | set(RESULTS) | set(ELSEWHERE)
    tables |= {re.split("[ =]", flag)[0] for flag in (*WITHOUT_EFFECT, *REFUSED)}
    assert known <= tables
