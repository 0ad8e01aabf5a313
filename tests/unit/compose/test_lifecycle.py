"""``start``, ``stop``, ``restart`` and ``down`` as plans."""

import pytest

from kedge.compose.application import application_from_labels
from kedge.compose.lifecycle import plan_restart, plan_start, plan_stop
from kedge.compose.removal import DownWishes, plan_down
from kedge.errdefs import NotFoundError
from tests.unit.compose.states import application, facts, keys, running, step

_TEXT = """
services:
  web: {image: i, depends_on: {db: {condition: service_healthy, restart: true}}}
  job: {image: i, depends_on: [db]}
  db: {image: i, volumes: ["data:/d"]}
volumes: {data: }
"""
APP = application(_TEXT)
STATE = facts(APP, *(running(APP, name) for name in APP.services)).observed


def test_dependents_stop_first() -> None:
    plan = plan_stop(APP, STATE, list(APP.services), None)
    assert set(step(plan, "stop:app-db-1").needs) == {"stop:app-web-1", "stop:app-job-1"}
    assert keys(plan_stop(APP, STATE, ["db"], None)) == ["stop:app-db-1"]


def test_dependencies_start_first_and_are_waited_for() -> None:
    stopped = [running(APP, name, state="exited") for name in APP.services]
    plan = plan_start(APP, facts(APP, *stopped).observed, list(APP.services), wait=True)
    assert step(plan, "start:app-web-1").needs == ("wait:db:service_healthy",)
    assert step(plan, "start:app-job-1").needs == ("start:app-db-1",)
    assert keys(plan)[-1] == "wait:web:ready:last"
    with pytest.raises(NotFoundError, match='service "db" has no container to start'):
        plan_start(APP, facts(APP).observed, ["db"], wait=False)


def test_restart_takes_those_along_that_want_it() -> None:
    plan = plan_restart(APP, STATE, ["db"], None, dependents=True)
    assert keys(plan) == ["restart:app-db-1", "restart:app-web-1"]
    assert step(plan, "restart:app-web-1").needs == ("restart:app-db-1",)
    assert keys(plan_restart(APP, STATE, ["db"], None, dependents=False)) == ["restart:app-db-1"]


def test_down_takes_containers_then_networks_and_volumes_only_when_asked() -> None:
    plan = plan_down(APP, STATE, DownWishes())
    assert keys(plan) == [
        "stop:app-web-1", "remove:app-web-1", "stop:app-job-1", "remove:app-job-1",
        "stop:app-db-1", "remove:app-db-1", "network:app_default",
    ]  # fmt: skip
    assert set(step(plan, "stop:app-db-1").needs) == {"stop:app-web-1", "stop:app-job-1"}
    assert len(step(plan, "network:app_default").needs) == 3
    assert "volume:app_data" in keys(plan_down(APP, STATE, DownWishes(volumes=True)))
    assert keys(plan_down(APP, STATE, DownWishes(("job",)))) == [
        "stop:app-job-1", "remove:app-job-1",
    ]  # fmt: skip


def test_down_knows_a_project_by_its_labels_alone() -> None:
    app = application_from_labels("app", STATE, {})
    plan = plan_down(app, STATE, DownWishes(volumes=True, images="all"))
    assert set(step(plan, "stop:app-db-1").needs) == {"stop:app-web-1", "stop:app-job-1"}
    assert {"network:app_default", "volume:app_data", "image:i"} <= set(keys(plan))


def test_down_leaves_what_is_not_its_own() -> None:
    app = application("""
services: {s: {image: i, networks: [n], volumes: ["vol:/v"]}, t: {build: .}}
networks: {n: {external: true}}
volumes: {vol: {external: true}}
""")
    state = facts(app, running(app, "s"), running(APP, "web"))
    plan = plan_down(app, state.observed, DownWishes(volumes=True, images="local"))
    assert keys(plan) == [
        "stop:app-s-1", "remove:app-s-1", "network:app_default", "image:app-t",
    ]  # fmt: skip
    orphans = plan_down(app, state.observed, DownWishes(remove_orphans=True))
    assert "remove:app-web-1" in keys(orphans)


def test_nothing_to_remove_is_said() -> None:
    app = application_from_labels("none", facts(APP).observed._replace(networks=(), volumes=()), {})
    plan = plan_down(app, facts(APP).observed._replace(networks=(), volumes=()), DownWishes())
    assert plan.warnings == ('No resource found to remove for project "none".',)
