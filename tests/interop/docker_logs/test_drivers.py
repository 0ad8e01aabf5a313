"""Every option of ``logs`` over every driver, and real services at the other end."""

import json
import subprocess
from typing import NamedTuple

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.interop

_DEV_LOG = "syslog-address=unixgram:///run/systemd/journal/dev-log"
_HALF, _ALL = 1500, 3000
_SCRIPT = f"seq {_HALF}; echo oops >&2; sleep 0.2; seq {_HALF + 1} {_ALL}"


class Case(NamedTuple):
    """A driver whose log is rotated some times, and nothing of it lost."""

    driver: str
    options: tuple[str, ...]
    has_labels: bool = True


CASES = (
    Case("json-file", ("max-size=40k", "max-file=20")),
    Case("json-file", ("max-size=40k", "max-file=20", "compress=true")),
    Case("local", ("max-size=40k", "max-file=20", "compress=false"), has_labels=False),
    Case("local", ("max-size=40k", "max-file=20"), has_labels=False),
    Case("journald", ("cache-max-size=40k", "cache-max-file=20")),
    Case("syslog", (_DEV_LOG, "cache-max-size=40k", "cache-max-file=20")),
)


def run(engine: Engine, case: Case, name: str, script: str) -> str:
    """Run a script to its end; return the container's id."""
    options = [*case.options, *(["labels=tier"] if case.has_labels else [])]
    engine.docker(
        "run", "--name", name, "--label", "tier=web", "--log-driver", case.driver,
        *(word for option in options for word in ("--log-opt", option)),
        "busybox", "sh", "-c", script,
    )  # fmt: skip
    return engine.docker("inspect", "-f", "{{.Id}}", name).stdout.strip()


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join((case.driver, *case.options[2:])))
def test_the_options_of_logs(engine: Engine, case: Case) -> None:
    key = run(engine, case, "talk", _SCRIPT)
    try:
        files = list((engine.root / "data" / "containers" / key).glob("*log*"))
        assert len(files) > 2, "nothing was rotated"

        def logs(*flags: str) -> tuple[list[str], list[str]]:
            theirs = engine.docker("logs", *flags, "talk")
            ours = engine.kedge("logs", *flags, "talk")
            assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
            return theirs.stdout.splitlines(), theirs.stderr.splitlines()

        everything = (numbers(1, _ALL), ["oops"])
        assert logs() == logs("--tail", "all") == logs("--follow") == everything
        assert logs("--tail", "0") == ([], [])
        assert logs("--tail", "3")[0] == numbers(_ALL - 2, _ALL)
        # The line on standard error is one of those that are counted.
        assert logs("--tail", str(_ALL - 9))[0] == numbers(11, _ALL)
        stamped = [line.partition(" ") for line in logs("--timestamps")[0]]
        assert [text for _, _, text in stamped] == everything[0]
        stamps = [stamp for stamp, _, _ in stamped]
        assert stamps == sorted(stamps)
        late = stamps[_HALF]
        assert late > stamps[_HALF - 1]
        assert logs("--since", late)[0] == numbers(_HALF + 1, _ALL)
        early = stamps[_HALF - 1]
        assert logs("--until", early)[0] == numbers(1, _HALF)
        assert logs("--since", late, "--until", early) == ([], [])
        assert logs("--since", "1h")[0] == everything[0]
        assert logs("--since", late, "--tail", "2")[0] == numbers(_ALL - 1, _ALL)
        details = logs("--details", "--tail", "1")[0]
        assert details == [f"tier=web {_ALL}" if case.has_labels else f" {_ALL}"]
    finally:
        engine.docker("rm", "-f", "talk")


def test_a_driver_that_keeps_nothing(engine: Engine) -> None:
    engine.docker("run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "x")
    try:
        for client in (engine.docker, engine.kedge):
            done = client("logs", "mute", check=False)
            assert done.returncode == 1
            assert "configured logging driver does not support reading" in done.stderr
    finally:
        engine.docker("rm", "mute")


def journal(engine: Engine, field: str, value: str) -> list[dict[str, str]]:
    """Return what the journal has with that field."""
    words = [*engine.before, "journalctl", "--no-pager", "-o", "json", f"{field}={value}"]
    lines = subprocess.check_output(words, text=True).splitlines()
    return [json.loads(line) for line in lines]


def test_the_journal_has_each_line_and_says_whose_it_is(engine: Engine) -> None:
    case = Case("journald", ("tag={{.ImageName}}/{{.Name}}",))
    key = run(engine, case, "scribe", "seq 200; echo oops >&2")
    try:
        entries = journal(engine, "CONTAINER_ID_FULL", key)
        lines = [item["MESSAGE"] for item in entries if item["PRIORITY"] == "6"]
        assert lines == numbers(1, 200)
        assert [item["MESSAGE"] for item in entries if item["PRIORITY"] == "3"] == ["oops"]
        for name, value in {
            "CONTAINER_NAME": "scribe", "CONTAINER_ID": key[:12], "IMAGE_NAME": "busybox",
            "CONTAINER_TAG": "busybox/scribe", "SYSLOG_IDENTIFIER": "busybox/scribe",
            "TIER": "web",
        }.items():  # fmt: skip
            assert {item[name] for item in entries} == {value}, name
    finally:
        engine.docker("rm", "-f", "scribe")


def test_a_syslog_service_understands_the_short_form(engine: Engine) -> None:
    case = Case("syslog", (_DEV_LOG, "tag=shop", "syslog-facility=local3"))
    run(engine, case, "post", "seq 100; echo oops >&2")
    try:
        entries = journal(engine, "SYSLOG_IDENTIFIER", "shop")
        assert [x["MESSAGE"] for x in entries if x["PRIORITY"] == "6"] == numbers(1, 100)
        assert [x["MESSAGE"] for x in entries if x["PRIORITY"] == "3"] == ["oops"]
        # local3 of RFC 5424.
        assert {x["SYSLOG_FACILITY"] for x in entries} == {"19"}
    finally:
        engine.docker("rm", "-f", "post")
