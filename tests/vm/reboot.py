"""A power cut and a real boot: what is tested elsewhere by taking an engine's processes away.

Two boots on one disk. Not collected with the other tests: ``make test-vm`` names each test in the
boot it belongs to. The exec root is a tmpfs, as ``/run`` is; all else lies on the disk.
"""

import json
import os
import subprocess
from pathlib import Path

from tests.engine import Engine, busybox_context, page
from tests.integration.engine_crash.truth import assert_true, state, status, until

_ROOT = Path("/tmp/reboot")
_NOTES = _ROOT / "notes.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SHOP = ("--network", "shop", "--label", "com.docker.compose.project=shop", "--restart", "always")
_COUNTS = "echo started >> /kept/starts; exec sleep 6000"
_SERVES = "mkdir -p /www; echo open > /www/index.html; exec httpd -f -p 81 -h /www"
_WANTED = {
    "always": "running", "frozen": "running", "unless-stopped": "running", "on-failure": "running",
    "db": "running", "web": "running", "stopped": "exited", "no": "exited",
}  # fmt: skip
# Runs until the power is cut: nobody may find that its process was let go of before.
_RUNNING: list[Engine] = []


def _start_engine() -> Engine:
    (_ROOT / "exec").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "run", str(_ROOT / "exec")], check=True)
    engine = Engine(_ROOT)
    engine.start()
    _RUNNING.append(engine)
    return engine


def _run(engine: Engine, name: str, *flags: str, script: str = "exec sleep 6000") -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script)


def _starts(engine: Engine) -> int:
    text = engine.docker("exec", "always", "cat", "/kept/starts").stdout
    return len(text.split())


def _limit(engine: Engine) -> str:
    return engine.docker("exec", "unless-stopped", "cat", "/sys/fs/cgroup/memory.max").stdout


def test_before_the_power_cut() -> None:
    engine = _start_engine()
    engine.build_tar(busybox_context(), "busybox")
    engine.docker("network", "create", "shop")
    _run(engine, "always", "--restart", "always", "-v", "kept:/kept", script=_COUNTS)
    _run(engine, "unless-stopped", "--restart", "unless-stopped", "--memory", "32m")
    _run(engine, "stopped", "--restart", "unless-stopped")
    engine.docker("stop", "-t", "0", "stopped")
    _run(engine, "on-failure", "--restart", "on-failure")
    _run(engine, "no")
    _run(engine, "frozen", "--restart", "always")
    engine.docker("pause", "frozen")
    # The one that needs the other is the older one: only its label says who is first.
    _run(
        engine, "web", *_SHOP, "--label", "com.docker.compose.service=web",
        "--label", "com.docker.compose.depends_on=db:service_healthy:false",
    )  # fmt: skip
    _run(
        engine, "db", *_SHOP, "--label", "com.docker.compose.service=db", "-p", "127.0.0.1:8088:81",
        "--health-cmd", "test -e /www/index.html", "--health-interval", "2s", script=_SERVES,
    )  # fmt: skip
    assert page(8088) == "open\n"
    assert (_starts(engine), _limit(engine)) == (1, f"{32 << 20}\n")
    assert status(engine, "frozen") == "paused"
    _NOTES.write_text(
        json.dumps({"boot": _BOOT_ID.read_text(), "stopped": state(engine, "stopped")})
    )
    # What is on the disk now is what a journalling file system would keep; nobody is told more.
    os.sync()


def test_after_the_power_cut() -> None:
    notes = json.loads(_NOTES.read_text())
    assert notes["boot"] != _BOOT_ID.read_text()
    engine = _start_engine()
    until(lambda: {name: status(engine, name) for name in _WANTED} == _WANTED, "as policies say")
    assert state(engine, "no")["ExitCode"] == 137
    assert state(engine, "stopped") == notes["stopped"]
    assert str(state(engine, "web")["StartedAt"]) > str(state(engine, "db")["StartedAt"])
    assert (_starts(engine), _limit(engine)) == (2, f"{32 << 20}\n")
    assert page(8088) == "open\n"
    assert engine.docker("exec", "web", "wget", "-qO-", "http://db:81/").stdout == "open\n"
    assert_true(engine)
    assert engine.stop() == 0, engine.log.read_text()
