"""The build cache looked at, pruned, collected by itself, and what the next build says of it."""

import json
from pathlib import Path

import pytest

from tests.engine import BUSYBOX, Engine, busybox_context, running_engine
from tests.integration.engine_crash.truth import until

pytestmark = pytest.mark.integration


def test_what_is_kept_and_what_goes(shared_engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=cache,target=/m echo first > /first && sleep 0.2\n"
        "RUN echo second > /second\n"
    )
    shared_engine.kedge("builder", "prune", "-af")
    shared_engine.kedge("build", "-o", "type=cacheonly", str(context))
    again = shared_engine.kedge("build", "-o", "type=cacheonly", str(context)).stdout
    assert "---> Using cache (saved 0." in again
    listed = shared_engine.kedge("builder", "du", "--format", "json").stdout.splitlines()
    entries = [json.loads(line) for line in listed]
    kinds = sorted(entry["Description"].split()[0] for entry in entries)
    assert kinds == ["RUN", "RUN", "cache", "context"]
    assert all(entry["Reclaimable"] == "true" for entry in entries)
    table = shared_engine.kedge("builder", "du").stdout
    assert "Total:" in table
    second = next(entry["ID"] for entry in entries if "second" in entry["Description"])
    pruned = shared_engine.kedge("builder", "prune", "-f", "--filter", f"id={second}").stdout
    assert second in pruned
    mounts = ("--filter", "type=exec.cachemount", "--format", "{{.Description}}")
    assert shared_engine.kedge("builder", "du", *mounts).stdout == "cache mount m\n"
    after = shared_engine.kedge("build", "-o", "type=cacheonly", str(context)).stdout
    assert after.count("Using cache") == 1
    assert "Not in cache: evicted" in after
    shared_engine.kedge("build", "-t", "kept:1", str(context))
    shared_engine.kedge("builder", "prune", "-f", "--filter", "shared=false")
    kept = shared_engine.kedge("build", "-t", "kept:1", str(context)).stdout
    assert kept.count("Using cache") == 2, "what an image holds costs nothing to remember"
    shared_engine.kedge("builder", "prune", "-f")
    gone = shared_engine.kedge("build", "-t", "kept:1", str(context)).stdout
    assert "Using cache" not in gone
    shared_engine.kedge("rmi", "kept:1")
    bad = shared_engine.kedge("builder", "prune", "-f", "--filter", "colour=red", check=False)
    assert "invalid filter 'colour'" in bad.stderr


def test_files_of_a_context_and_packages_are_seen_and_go(
    shared_engine: Engine, context: Path
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\n")
    (context / "large").write_bytes(bytes(300_000))
    packages = shared_engine.root / "data/packages"
    packages.mkdir()
    (packages / "one.deb").write_bytes(bytes(200_000))
    shared_engine.kedge("build", "-o", "type=cacheonly", str(context))
    ours = (
        "--verbose",
        "--filter",
        f"description={context}",
        "--format",
        "{{.Size}} {{.Description}}",
    )
    (shown,) = shared_engine.kedge("builder", "du", *ours).stdout.splitlines()
    assert shown.startswith("300")
    assert "packages       packages" in shared_engine.kedge("system", "df", "-v").stdout
    # Only what is asked for goes.
    shared_engine.kedge("builder", "prune", "-f", "--filter", "type=packages")
    assert not packages.exists()
    assert len(shared_engine.kedge("builder", "du", *ours).stdout.splitlines()) == 1
    shared_engine.kedge("builder", "prune", "-f", "--filter", "type=source.local")
    assert shared_engine.kedge("builder", "du", *ours).stdout == ""


def test_collected_by_itself(tmp_path: Path) -> None:
    if BUSYBOX is None:
        pytest.skip("busybox-static is not installed")
    config = tmp_path / "daemon.json"
    policy = {"maxUsedSpace": "3MB", "reservedSpace": 0, "all": True}
    config.write_text(json.dumps({"builder": {"gc": {"enabled": True, "policy": [policy]}}}))
    context = tmp_path / "context"
    context.mkdir()
    steps = "\n".join(f"RUN head -c 2000000 /dev/urandom > /f{i}" for i in range(4))
    (context / "Dockerfile").write_text(f"FROM busybox\n{steps}\n")
    with running_engine() as engine:
        engine.build_tar(busybox_context(), "busybox")
        engine.kedge("build", "-o", "type=cacheonly", str(context))
        assert remembered(engine) == 4
        engine.restart_with("--config-file", str(config))
        engine.kedge("build", "-o", "type=cacheonly", str(context))
        until(lambda: remembered(engine) <= 1, "the cache is under its size")
        again = engine.kedge("build", "-o", "type=cacheonly", str(context)).stdout
        assert "Not in cache: evicted" in again


def remembered(engine: Engine) -> int:
    listed = engine.kedge("builder", "du", "--verbose", "--format", "{{.Description}}").stdout
    return listed.count("head -c")
