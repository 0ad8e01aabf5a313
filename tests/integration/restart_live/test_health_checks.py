"""Health checks in real containers."""

import pytest

from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.jsontypes import Json
from tests.engine import Engine
from tests.integration.engine_crash.truth import assert_true, state, status, until

pytestmark = pytest.mark.integration

_OFTEN = ("--health-interval", "50ms", "--health-retries", "2")


def run(engine: Engine, name: str, *flags: str) -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sleep", "600")


def health(engine: Engine, name: str) -> str:
    found = state(engine, name).get("Health")
    return str(found["Status"]) if isinstance(found, dict) else "none"


def last_results(engine: Engine, name: str) -> list[Json]:
    found = state(engine, name)["Health"]
    assert isinstance(found, dict)
    log = found["Log"]
    assert isinstance(log, list)
    assert len(log) <= 5
    return log


def last_result(engine: Engine, name: str) -> dict[str, Json]:
    result = last_results(engine, name)[-1]
    assert isinstance(result, dict)
    return result


def actions(engine: Engine, name: str) -> list[str]:
    now = SYSTEM_CLOCK.time_ns() / 1e9
    done = engine.docker(
        "events", "--since", "10m", "--until", f"{now:.9f}", "--filter", f"container={name}",
        "--format", "{{.Action}}",
    )  # fmt: skip
    return done.stdout.splitlines()


def shown(engine: Engine, *flags: str) -> str:
    return engine.docker("ps", *flags, "--format", "{{.Names}} {{.Status}}").stdout


def test_sick_and_well_again(engine: Engine) -> None:
    run(engine, "web", *_OFTEN, "--health-cmd", "echo asked; cat /ok")
    assert "(health: starting)" in shown(engine) or "(unhealthy)" in shown(engine)
    until(lambda: health(engine, "web") == "unhealthy", "it is sick")
    assert shown(engine, "--filter", "health=unhealthy").endswith("(unhealthy)\n")
    assert shown(engine, "--filter", "health=healthy") == ""
    engine.docker("exec", "web", "touch", "/ok")
    until(lambda: health(engine, "web") == "healthy", "it is well")
    result = last_result(engine, "web")
    assert (result["ExitCode"], result["Output"]) == (0, "asked\n")
    told = [item for item in actions(engine, "web") if item.startswith("health_status")]
    assert told == ["health_status: unhealthy", "health_status: healthy"]
    around = [item.partition(":")[0] for item in actions(engine, "web")][2:5]
    assert around == ["exec_create", "exec_start", "exec_die"]
    # Nobody asks a container that is paused.
    engine.docker("pause", "web")
    asked = last_result(engine, "web")
    assert shown(engine).endswith("(Paused)\n")
    run(engine, "other", *_OFTEN, "--health-cmd", "true")
    until(lambda: health(engine, "other") == "healthy", "some time has gone by")
    assert last_result(engine, "web") == asked
    engine.docker("unpause", "web")
    until(lambda: last_result(engine, "web") != asked, "it is asked again")
    engine.docker("stop", "-t0", "web")
    assert health(engine, "web") == "unhealthy"
    engine.docker("start", "web")
    until(lambda: health(engine, "web") == "healthy", "it is well after a start")
    assert_true(engine)


def test_a_probe_that_takes_too_long_is_killed(engine: Engine) -> None:
    run(
        engine, "slow", *_OFTEN, "--health-timeout", "200ms",
        "--health-cmd", "echo begun; sleep 543 & sleep 543; wait",
    )  # fmt: skip
    until(lambda: health(engine, "slow") == "unhealthy", "it is sick")
    result = last_result(engine, "slow")
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (200ms): begun\n"
    # One probe may be on its way: it is killed with whatever it started.
    until(lambda: "sleep 543" not in engine.docker("top", "slow").stdout, "no probe is left")
    run(engine, "loud", *_OFTEN, "--health-cmd", "yes")
    run(engine, "gone", *_OFTEN, "--no-healthcheck=false", "--health-cmd", "/no/such")
    until(lambda: health(engine, "gone") == "unhealthy", "it is sick")
    assert last_result(engine, "gone")["ExitCode"] == 127
    engine.docker("rm", "-f", "slow", "loud", "gone")
    assert_true(engine)


def test_the_images_check_and_how_to_change_it(engine: Engine) -> None:
    engine.build("FROM busybox\nHEALTHCHECK --interval=50ms --retries=1 CMD cat /ok\n", "checked")
    for name, flags in (
        ("own", ("--health-cmd", "true")), ("same", ()), ("off", ("--no-healthcheck",)),
    ):  # fmt: skip
        engine.docker("run", "-d", "--name", name, *flags, "checked", "sleep", "600")
    until(lambda: health(engine, "own") == "healthy", "the command is its own")
    until(lambda: health(engine, "same") == "unhealthy", "the check is the image's")
    assert health(engine, "off") == "none"
    assert "off Up" in shown(engine, "--filter", "health=none")
    done = engine.docker(
        "create", "--health-cmd", "true", "--health-interval", "10us", "busybox", check=False
    )
    assert "Interval in Healthcheck cannot be less than 1ms" in done.stderr


def test_health_goes_on_when_the_engine_was_killed(engine: Engine) -> None:
    run(engine, "well", *_OFTEN, "--health-cmd", "true")
    run(engine, "hangs", *_OFTEN, "--health-cmd", "sleep 765", "--health-timeout", "1h")
    until(lambda: health(engine, "well") == "healthy", "it is well")
    until(lambda: "sleep 765" in engine.docker("top", "hangs").stdout, "it is being asked")
    engine.kill()
    engine.start()
    assert health(engine, "well") == "healthy"
    before = last_result(engine, "well")
    until(lambda: last_result(engine, "well") != before, "it is asked again")
    # The probe of the dead engine went with it; the new engine has one of its own.
    until(lambda: engine.docker("top", "hangs").stdout.count("sleep 765") == 1, "one probe")
    assert status(engine, "hangs") == "running"
    assert_true(engine)


def test_a_container_is_found_ready_long_before_its_first_interval(engine: Engine) -> None:
    check = ("--health-cmd", "cat /ok", "--health-interval", "1h", "--health-retries", "1")
    run(engine, "web", *check)
    until(lambda: last_results(engine, "web"), "it was asked")
    # It may fail as often as it likes before Docker would have looked.
    assert health(engine, "web") == "starting"
    engine.docker("exec", "web", "touch", "/ok")
    until(lambda: health(engine, "web") == "healthy", "it is well")
    # With a start interval the pace is the user's.
    run(engine, "paced", *check, "--health-start-interval", "1h", "--health-start-period", "1h")
    run(engine, "other", *check[:1], "true", *check[2:])
    until(lambda: health(engine, "other") == "healthy", "some time has gone by")
    assert not last_results(engine, "paced")
    assert_true(engine)
