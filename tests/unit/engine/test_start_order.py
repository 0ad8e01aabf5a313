"""Who waits for whom when the engine comes back."""

import pytest

from kedge.api.types.config import ContainerConfig, HealthConfig, HostConfig
from kedge.engine.healthrules import HealthRecord, HealthStatus
from kedge.engine.record import ContainerRecord
from kedge.engine.startorder import (
    Condition,
    Need,
    Verdict,
    judge,
    parse_depends_on,
    patience_s,
    plan_order,
    waiting_text,
)
from kedge.engine.state import Status

SECOND = 1_000_000_000


def record(name: str, depends_on: str = "", **host: str | list[str]) -> ContainerRecord:
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": name.partition("-")[0],
        "com.docker.compose.depends_on": depends_on,
    }
    return ContainerRecord(
        id=f"id-{name}", name=name, created_ns=1, image_id="", path="", args=[],
        config=ContainerConfig(labels=labels), host_config=HostConfig(**host),  # type: ignore[arg-type]
        status=Status.EXITED,
    )  # fmt: skip


def needs(*records: ContainerRecord) -> tuple[dict[str, list[str]], list[str]]:
    order = plan_order(records, {item.id for item in records})
    return {
        key: [f"{need.id} {need.condition.removeprefix('service_')}" for need in found]
        for key, found in order.needs.items()
        if found
    }, order.warnings


def test_composes_label() -> None:
    text = "db:service_healthy:false,init:service_completed_successfully:true,cache:odd,queue"
    assert parse_depends_on(text) == [
        ("db", Condition.HEALTHY), ("init", Condition.COMPLETED), ("cache", Condition.STARTED),
        ("queue", Condition.STARTED),
    ]  # fmt: skip
    assert parse_depends_on("") == []


def test_siblings_are_of_the_same_project_and_no_one_offs() -> None:
    web = record("web", "db:service_healthy:false")
    elsewhere, once = record("db-x"), record("db-run")
    elsewhere.config.labels["com.docker.compose.project"] = "other"
    once.config.labels["com.docker.compose.oneoff"] = "True"
    found = needs(web, record("db-1"), record("db-2"), elsewhere, once)
    assert found == ({"id-web": ["id-db-1 healthy", "id-db-2 healthy"]}, [])


def test_a_missing_sibling_is_a_warning() -> None:
    found, warnings = needs(record("web", "db:service_healthy:false"))
    assert found == {}
    assert warnings == [
        "container web depends on service db, which has no container: it is started without"
    ]


def test_joined_namespaces_and_links() -> None:
    second = record("second", ipc_mode="container:guest", links=["/owner:store", "bad:"])
    stray = record("stray", pid_mode="container:elsewhere")
    guest = record("guest", network_mode="container:id-owner")
    assert needs(second, guest, stray, record("owner")) == (
        {"id-guest": ["id-owner started"], "id-second": ["id-guest started", "id-owner started"]},
        [],
    )


def test_those_in_a_circle_do_not_wait_for_each_other_but_for_others() -> None:
    one, two = record("one", "two:,base:"), record("two", "three:")
    three, after = record("three", "one:"), record("after", "one:")
    found, warnings = needs(one, two, three, after, record("base"))
    assert found == {"id-one": ["id-base started"], "id-after": ["id-one started"]}
    assert warnings == [
        "containers one, three, two depend on each other: they do not wait for each other"
    ]


def test_only_those_who_come_back_have_needs() -> None:
    web, db = record("web", "db:"), record("db", "web:")
    order = plan_order([web, db], {"id-web"})
    assert order.needs == {"id-web": [Need("id-db", Condition.STARTED)]}
    assert order.warnings == []


@pytest.mark.parametrize(
    ("status", "started", "healthy", "completed"),
    [
        (Status.RESTARTING, Verdict.WAIT, Verdict.WAIT, Verdict.WAIT),
        (Status.RUNNING, Verdict.MET, Verdict.WAIT, Verdict.WAIT),
        (Status.EXITED, Verdict.NEVER, Verdict.NEVER, Verdict.MET),
        (Status.CREATED, Verdict.NEVER, Verdict.NEVER, Verdict.NEVER),
    ],
)
def test_what_a_state_means(
    status: Status, started: Verdict, healthy: Verdict, completed: Verdict
) -> None:
    db = record("db")
    db.status, db.started_ns, db.health = status, 1, HealthRecord()
    found = [judge(Need(db.id, condition), db) for condition in Condition]
    assert found == [started, healthy, completed]


def test_health() -> None:
    need, db = Need("id-db", Condition.HEALTHY), record("db")
    db.status = Status.RUNNING
    # Without a check there is nothing to wait for.
    assert judge(need, db) is Verdict.MET
    db.health = HealthRecord(status=HealthStatus.UNHEALTHY)
    assert judge(need, db) is Verdict.WAIT
    db.health.status = HealthStatus.HEALTHY
    assert judge(need, db) is Verdict.MET
    assert judge(need, None) is Verdict.NEVER


def test_a_failed_job_is_never_completed() -> None:
    job = record("job")
    job.started_ns, job.exit_code = 1, 3
    assert judge(Need(job.id, Condition.COMPLETED), job) is Verdict.NEVER


def test_patience_has_an_end() -> None:
    db = record("db")
    assert [patience_s(Need(db.id, condition), db) for condition in Condition] == [60, 60, 300]
    db.config.healthcheck = HealthConfig(
        test=["CMD", "true"], interval=10 * SECOND, retries=2, start_period=7 * SECOND
    )
    assert patience_s(Need(db.id, Condition.HEALTHY), db) == 87
    assert waiting_text(Need(db.id, Condition.HEALTHY), "db") == "db to be healthy"
