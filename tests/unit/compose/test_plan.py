"""``up`` as a plan: what is made, kept, recreated and why, and in which order."""

import pytest

from kedge.compose import labels
from kedge.compose.application import Application
from kedge.compose.decisions import Recreate
from kedge.compose.dryrun import describe
from kedge.compose.facts import Facts
from kedge.compose.plan import Wishes, plan_up
from kedge.compose.resourceuse import changed_volumes
from kedge.compose.steps import (
    CreateContainer,
    CreateNetwork,
    Plan,
    RecreateContainer,
    StartContainer,
    StopContainer,
    WaitFor,
)
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.fields import mapping, texts
from tests.unit.compose.states import application, facts, keys, relabelled, running, step

_PAGE = """
services:
  web: {build: ., ports: ["8000:5000"], environment: {REDIS: redis}, depends_on: [redis]}
  redis: {image: redis, volumes: ["data:/data"]}
volumes: {data: }
"""


def _wishes(app: Application, *names: str, **fields: object) -> Wishes:
    services = tuple(app.with_dependencies(app.checked(names)))
    return Wishes(services=services, named=frozenset(names))._replace(**fields)  # type: ignore[arg-type]


def _up(app: Application, state: Facts, *names: str, **fields: object) -> Plan:
    return plan_up(app, state, _wishes(app, *names, **fields))


def test_everything_is_made_in_order_on_an_empty_engine() -> None:
    app = application(_PAGE)
    plan = _up(app, Facts())
    assert keys(plan) == [
        "network:default", "volume:data", "create:app-redis-1", "start:app-redis-1",
        "create:app-web-1", "start:app-web-1",
    ]  # fmt: skip
    assert step(plan, "create:app-web-1").needs == ("network:default",)
    assert step(plan, "create:app-redis-1").needs == ("network:default", "volume:data")
    assert step(plan, "start:app-web-1").needs == ("create:app-web-1", "start:app-redis-1")


def test_what_is_as_asked_is_kept() -> None:
    app = application(_PAGE)
    plan = _up(app, facts(app, running(app, "web"), running(app, "redis")))
    assert keys(plan) == ["keep:app-redis-1", "keep:app-web-1"]
    assert [event.text for one in plan.steps for event in describe(one)] == ["Running", "Running"]


def test_a_stopped_container_is_started() -> None:
    app = application(_PAGE)
    plan = _up(app, facts(app, running(app, "web", state="exited"), running(app, "redis")))
    assert keys(plan) == ["keep:app-redis-1", "start:app-web-1"]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("environment: {A: 1, B: 2}", "environment: {A: 1, B: 3}", "env B changed"),
        ("environment: {A: 1, B: 2}", "environment: {A: 1}", "env B removed"),
        ("labels: {x: a}", "labels: {x: a, y: b}", "label y added"),
        ("command: a", "command: b", "command changed"),
        ("ports: [80]", "ports: [80, 81]", "ports changed"),
        (
            "command: a",
            "command: b, user: u, hostname: h, tty: true",
            "command changed, hostname added, tty added and 1 more",
        ),
    ],
)
def test_the_reason_of_a_recreation_is_said(before: str, after: str, reason: str) -> None:
    old = application(f"services: {{s: {{image: i, {before}}}}}")
    new = application(f"services: {{s: {{image: i, {after}}}}}")
    plan = _up(new, facts(new, running(old, "s")))
    recreated = step(plan, "recreate:app-s-1")
    assert isinstance(recreated, RecreateContainer)
    assert recreated.reason == reason
    assert step(plan, "start:app-s-1").needs == ("recreate:app-s-1",)


@pytest.mark.parametrize(
    "harmless",
    ["build: .", "pull_policy: always", "scale: 1", "profiles: []", "deploy: {replicas: 1}"],
)
def test_what_does_not_change_a_container_does_not_recreate_it(harmless: str) -> None:
    old = application("services: {s: {image: i}}")
    new = application(f"services: {{s: {{image: i, {harmless}}}}}")
    assert keys(_up(new, facts(new, running(old, "s")))) == ["keep:app-s-1"]


def test_a_new_image_recreates() -> None:
    app = application("services: {s: {image: i}}")
    state = facts(app, running(app, "s", image_id="sha256:old"))
    recreated = step(_up(app, state), "recreate:app-s-1")
    assert isinstance(recreated, RecreateContainer)
    assert recreated.reason == "image changed"
    assert keys(_up(app, state, recreate=Recreate.NEVER)) == ["keep:app-s-1"]


def test_containers_of_another_program_are_recreated_once() -> None:
    app = application("services: {s: {image: i}}")
    foreign = relabelled(running(app, "s"), CONFIG_HASH="0" * 64)
    foreign = foreign._replace(
        labels={k: v for k, v in foreign.labels.items() if k != labels.CONFIG_PARTS}
    )
    recreated = step(_up(app, facts(app, foreign)), "recreate:app-s-1")
    assert isinstance(recreated, RecreateContainer)
    assert recreated.reason == "made by another program or version"


def test_forced_recreation_leaves_dependencies_unless_asked() -> None:
    app = application(_PAGE)
    state = facts(app, running(app, "web"), running(app, "redis"))
    plan = _up(app, state, "web", recreate=Recreate.FORCE)
    assert keys(plan) == ["keep:app-redis-1", "recreate:app-web-1", "start:app-web-1"]
    plan = _up(app, state, "web", recreate=Recreate.FORCE, recreate_dependencies=Recreate.FORCE)
    assert "recreate:app-redis-1" in keys(plan)


def test_conditions_are_waited_for_once() -> None:
    app = application("""
services:
  a: {image: i, depends_on: {db: {condition: service_healthy}}}
  b:
    image: i
    depends_on:
      db: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  c: {image: i, depends_on: {db: {condition: service_healthy, required: false}}}
  db: {image: i}
  job: {image: i}
""")
    plan = _up(app, Facts())
    waits = {one.key: one for one in plan.steps if isinstance(one, WaitFor)}
    assert set(waits) == {
        "wait:db:service_healthy",
        "wait:job:service_completed_successfully",
        "wait:db:service_healthy:optional",
    }
    assert waits["wait:db:service_healthy"].containers == ("app-db-1",)
    assert not waits["wait:db:service_healthy:optional"].required
    assert "wait:db:service_healthy" in step(plan, "start:app-a-1").needs


def test_a_dependent_follows_a_restart_only_where_it_wants_to() -> None:
    text = """
services:
  a: {image: i, depends_on: {db: {condition: service_started, restart: true}}}
  b: {image: i, depends_on: [db]}
  db: {image: i, environment: {V: "%s"}}
"""
    old, new = application(text % 1), application(text % 2)
    plan = _up(new, facts(new, *(running(old, name) for name in ("a", "b", "db"))))
    assert isinstance(step(plan, "stop:app-a-1"), StopContainer)
    assert "stop:app-a-1" in step(plan, "recreate:app-db-1").needs
    restarted = step(plan, "start:app-a-1")
    assert isinstance(restarted, StartContainer)
    assert restarted.word == "Restart"
    assert {"stop:app-a-1", "start:app-db-1"} <= set(restarted.needs)
    assert "keep:app-b-1" in keys(plan)


def test_a_shared_namespace_follows_its_owner() -> None:
    text = """
services:
  app: {image: i, environment: {V: "%s"}}
  side: {image: i, network_mode: "service:app"}
"""
    old, new = application(text % 1), application(text % 2)
    plan = _up(new, facts(new, running(old, "app"), running(old, "side")))
    recreated = step(plan, "recreate:app-side-1")
    assert isinstance(recreated, RecreateContainer)
    assert recreated.reason == "service app is recreated"
    assert "recreate:app-app-1" in recreated.needs


def test_scaling_uses_free_numbers_again() -> None:
    app = application("services: {s: {image: i}}")
    state = facts(app, running(app, "s", 1), running(app, "s", 3))
    plan = _up(app, state, scale={"s": 4})
    assert [key for key in keys(plan) if key.startswith("create")] == [
        "create:app-s-2", "create:app-s-4",
    ]  # fmt: skip


def test_scaling_down_removes_obsolete_ones_first_then_the_highest() -> None:
    old, app = (
        application("services: {s: {image: i, user: x}}"),
        application("services: {s: {image: i}}"),
    )
    state = facts(app, running(old, "s", 1), running(app, "s", 2), running(app, "s", 3))
    plan = _up(app, state, scale={"s": 1})
    assert [key for key in keys(plan) if key.startswith("remove")] == [
        "remove:app-s-3", "remove:app-s-1",
    ]  # fmt: skip
    assert "keep:app-s-2" in keys(plan)


def test_a_container_name_cannot_be_scaled() -> None:
    app = application("services: {s: {image: i, container_name: only}}")
    with pytest.raises(InvalidParameterError, match="only one container can have"):
        _up(app, Facts(), scale={"s": 2})
    assert "create:only" in keys(_up(app, Facts()))


def test_orphans_are_told_or_removed_but_not_those_of_profiles() -> None:
    old = application("services: {s: {image: i}, gone: {image: i}, off: {image: i}}")
    app = application("services: {s: {image: i}, off: {image: i, profiles: [p]}}")
    state = facts(app, *(running(old, name) for name in ("s", "gone", "off")))
    plan = _up(app, state)
    assert plan.warnings[0].startswith("Found orphan containers ([app-gone-1]) for this project.")
    assert not _up(app, state, ignore_orphans=True).warnings
    assert [key for key in keys(_up(app, state, remove_orphans=True)) if "remove" in key] == [
        "remove:app-gone-1"
    ]


def test_a_changed_network_is_made_anew_and_its_containers_follow() -> None:
    old = application("services: {s: {image: i}}")
    app = application("services: {s: {image: i}}\nnetworks: {default: {internal: true}}")
    state = facts(old, running(old, "s"))
    plan = _up(app, state)
    made = step(plan, "network:default")
    assert isinstance(made, CreateNetwork)
    assert made.replaces == "id-app_default"
    recreated = step(plan, "recreate:app-s-1")
    assert isinstance(recreated, RecreateContainer)
    assert recreated.reason == "network default changed"


def test_a_changed_volume_is_only_made_anew_when_its_loss_was_agreed() -> None:
    text = "services: {s: {image: i, volumes: ['data:/d']}}\nvolumes: {data: {labels: {v: '%s'}}}"
    old, app = application(text % 1), application(text % 2)
    state = facts(old, running(old, "s"))
    assert changed_volumes(app, state, ["s"]) == ["data"]
    assert keys(_up(app, state)) == ["keep:app-s-1"]
    plan = _up(app, state, recreate_volumes=frozenset({"data"}))
    assert keys(plan) == [
        "remove:app-s-1", "volume:data", "create:app-s-1", "start:app-s-1",
    ]  # fmt: skip
    assert step(plan, "volume:data").needs == ("remove:app-s-1",)


def test_external_resources_must_be_there() -> None:
    app = application("services: {s: {image: i, networks: [n]}}\nnetworks: {n: {external: true}}")
    with pytest.raises(NotFoundError, match="network n declared as external, but could not be"):
        _up(app, Facts())
    app = application(
        "services: {s: {image: i, volumes: ['vol:/v']}}\n"
        "volumes:\n  vol: {external: true, name: theirs}"
    )
    with pytest.raises(NotFoundError, match='external volume "theirs" not found'):
        _up(app, Facts())


def test_create_starts_nothing_and_wait_waits_for_everything() -> None:
    app = application(_PAGE)
    assert not [key for key in keys(_up(app, Facts(), start=False)) if key.startswith("start")]
    assert keys(_up(app, Facts(), wait=True))[-2:] == ["wait:redis:ready", "wait:web:ready"]


def test_pre_start_runs_between_creation_and_start() -> None:
    app = application("""
services:
  s: {image: i, user: u, ports: [80], pre_start: [{command: migrate --all, image: tool}]}
""")
    plan = _up(app, Facts())
    assert step(plan, "start:app-s-1").needs == ("create:app-s-1", "prepare:s")
    assert keys(_up(app, facts(app, running(app, "s")))) == ["keep:app-s-1"]


def test_names_and_labels_are_docker_s() -> None:
    app = application(_PAGE)
    created = step(_up(app, Facts()), "create:app-web-1")
    assert isinstance(created, CreateContainer)
    found = mapping(created.spec.request, "Labels")
    assert {key.removeprefix("com.docker.compose."): value for key, value in found.items()
            if key.startswith("com.docker.compose.") and "hash" not in key} == {
        "project": "app", "service": "web", "version": found[labels.VERSION], "oneoff": "False",
        "container-number": "1", "project.working_dir": "/p",
        "project.config_files": "/p/compose.yaml", "image": "",
        "depends_on": "redis:service_started:false",
    }  # fmt: skip
    endpoint = mapping(created.spec.request, "NetworkingConfig", "EndpointsConfig", "app_default")
    assert texts(endpoint, "Aliases") == ["app-web-1", "web"]


def test_a_thousand_services_in_a_chain_are_planned() -> None:
    lines = ["services:", "  s0: {image: i}"]
    lines += [f"  s{n}: {{image: i, depends_on: [s{n - 1}]}}" for n in range(1, 1000)]
    app = application("\n".join(lines))
    plan = _up(app, Facts())
    assert len(plan.steps) == 2001
    assert step(plan, "start:app-s999-1").needs == ("create:app-s999-1", "start:app-s998-1")
