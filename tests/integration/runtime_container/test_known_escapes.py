"""Ways out of a container that worked in other runtimes, tried on this one.

Each test makes the attack; docs/reference/security.md lists them all by their identifiers.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import kedge
from kedge.errdefs import KedgeError
from kedge.lib.jsontypes import Json, JsonObject
from kedge.oci.runtime_spec import parse_process, parse_spec
from kedge.runtime.cgroups import Cgroup
from kedge.runtime.container import Created, Stdio
from kedge.runtime.execute import exec_process
from tests.integration.runtime_container.command import Command
from tests.integration.runtime_container.conftest import Run, read_all

pytestmark = pytest.mark.integration

Spec = Callable[[str], JsonObject]

_ROUNDS = 12
# Far more than it takes until the race was once won by either side.
_MOST_ROUNDS = 2000
_SWAPPER = """
import ctypes, sys
one, other = (name.encode() for name in sys.argv[1:])
swap = ctypes.CDLL(None).renameat2
while True:
    swap(-100, one, -100, other, 2)
"""


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Generator["subprocess.Popen[bytes]"]:
    """Exchange two names as fast as it goes, as somebody does who shares the folder."""
    words = [sys.executable, "-I", "-S", "-c", _SWAPPER, str(one), str(other)]
    with subprocess.Popen(words) as process:
        try:
            yield process
        finally:
            process.kill()


def mounts_of(document: JsonObject) -> list[Json]:
    mounts = document["mounts"]
    assert isinstance(mounts, list)
    return mounts


def bind(document: JsonObject, source: Path, destination: str) -> None:
    mounts_of(document).append(
        {"destination": destination, "type": "bind", "source": str(source), "options": ["bind"]}
    )


def without_dev(document: JsonObject) -> None:
    """Leave /dev to the image, but for the container's own devpts."""
    kept = [
        mount
        for mount in mounts_of(document)
        if isinstance(mount, dict) and not str(mount["destination"]).startswith("/dev")
    ]
    kept.append({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []})
    document["mounts"] = [*kept]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host in which nothing may appear."""
    found = tmp_path / "victim"
    found.mkdir()
    return found


def test_a_mount_point_that_is_exchanged_for_a_link(
    run: Run, bundle: Path, shell_spec: Spec, tmp_path: Path, victim: Path
) -> None:
    """CVE-2021-30465 and CVE-2024-45310: mounts and mount points outside of the root."""
    volume, source = tmp_path / "volume", tmp_path / "source"
    for folder in (volume / "sub", source):
        folder.mkdir(parents=True)
    (volume / "link").symlink_to(victim)
    document = shell_spec("cat /proc/self/mountinfo")
    bind(document, volume, "/vol")
    bind(document, source, "/vol/sub/point")
    places: set[str] = set()
    with swapping(volume / "sub", volume / "link"):
        for number in range(_MOST_ROUNDS):
            if number >= _ROUNDS and f"{victim}/point" in places and len(places) > 1:
                break
            try:
                lines = map(str.split, run(document).output.splitlines())
            except KedgeError:
                continue  # neither of them was there at the wrong moment
            (place,) = [words[4] for words in lines if words[4].endswith("/point")]
            places.add(place)
    assert list(victim.iterdir()) == []
    # Mounted each time: in the volume, or where the link leads inside of the root.
    assert places <= {"/vol/sub/point", "/vol/link/point", f"{victim}/point"}
    assert (bundle / f"rootfs{victim}/point").is_dir()


@pytest.mark.parametrize("decoy", ["link", "folder"])
def test_a_proc_that_is_exchanged(run: Run, bundle: Path, shell_spec: Spec, decoy: str) -> None:
    """CVE-2019-19921, CVE-2023-27561 and CVE-2023-28642: a /proc without its protection."""
    root = bundle / "rootfs"
    for name in ("proc", "elsewhere", "folder"):
        (root / name).mkdir()
    (root / "link").symlink_to("elsewhere")
    look = "test -e $p/keys && stat -c %t:%T $p/keys && stat -c %t:%T $p/timer_list"
    write = "echo 0 2>/dev/null >$p/sys/kernel/panic && echo written"
    everywhere = f"for p in /proc /{decoy} /elsewhere; do {look}; {write}; done"
    document = shell_spec(f"until test -e /go; do :; done; {everywhere}; echo end")
    seen: set[str] = set()
    with swapping(root / "proc", root / decoy) as swapper:

        def stop(_created: Created) -> None:
            swapper.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, swapper.pid, os.WSTOPPED)
            (root / "go").touch()

        for number in range(_MOST_ROUNDS):
            if number >= 3 * _ROUNDS and len(seen) > (decoy == "link"):
                break
            try:
                seen.add(run(document, meanwhile=stop).output)
                (root / "go").unlink()
                swapper.send_signal(signal.SIGCONT)
            except KedgeError as error:
                seen.add(re.sub(r".*/proc.*", "refused", str(error)))
    assert seen <= {"refused", "1:3\n1:3\nend\n"}, seen


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("up", [True, False])
def test_a_dev_that_is_a_link(
    run: Run, bundle: Path, shell_spec: Spec, victim: Path, *, own: bool, up: bool
) -> None:
    """CVE-2026-41579: devices and links of /dev outside of the root."""
    (bundle / "rootfs/dev").symlink_to(f"../../../../../../../..{victim}" if up else victim)
    document = shell_spec("true")
    if not own:
        without_dev(document)
    run(document)
    assert list(victim.iterdir()) == []
    assert (bundle / f"rootfs{victim}").is_dir()


@pytest.mark.parametrize("readonly", [True, False])
def test_a_console_that_is_a_link(
    run: Run, bundle: Path, shell_spec: Spec, victim: Path, *, readonly: bool
) -> None:
    """CVE-2025-52565 and CVE-2026-88264: the console over, or in place of, another file."""
    (bundle / "rootfs/dev").mkdir()
    (bundle / "rootfs/dev/console").symlink_to(victim / "console")
    document = shell_spec("echo written > /dev/console; tty")
    without_dev(document)
    document["root"] = {"path": "rootfs", "readonly": readonly}
    process = document["process"]
    assert isinstance(process, dict)
    process["terminal"] = True
    assert run(document).output.split() == ["written", "/dev/pts/0"]
    assert list(victim.iterdir()) == []


def test_a_terminal_multiplexer_of_the_image(run: Run, bundle: Path, shell_spec: Spec) -> None:
    """CVE-2025-52565: a terminal that is not the container's own."""
    (bundle / "rootfs/dev/pts").mkdir(parents=True)
    (bundle / "rootfs/dev/pts/ptmx").symlink_to("/proc/sys/kernel/core_pattern")
    document = shell_spec("true")
    without_dev(document)
    mounts_of(document).pop()
    process = document["process"]
    assert isinstance(process, dict)
    process["terminal"] = True
    with pytest.raises(KedgeError, match="cannot open a terminal"):
        run(document)


def test_a_null_device_that_is_a_link_as_standard_input(
    run: Run, shell_spec: Spec, cgroup: Cgroup, tmp_path: Path
) -> None:
    """CVE-2026-88265: a file of the host becomes a stream, and the user's."""
    file = tmp_path / "file"
    file.write_text("as it was")
    document = shell_spec("rm /dev/null; ln -s /file /dev/null; touch /ready; exec sleep 60")
    bind(document, file, "/file")

    def attack(created: Created) -> None:
        wait_for(created, "ready")
        inner: JsonObject = {"cwd": "/", "args": ["true"], "env": ["PATH=/bin", "HOME=/"]}
        inner["user"] = {"uid": 1000, "gid": 1000}
        for alone in (True, False):
            assert said(created, document, inner, cgroup, alone=alone) == "refused"

    run(document, meanwhile=killing(attack))
    assert file.read_text() == "as it was"
    assert file.stat().st_uid == 0


def killing(attack: Callable[[Created], None]) -> Callable[[Created], None]:
    """Return ``attack`` with the end of the container after it."""

    def attack_and_kill(created: Created) -> None:
        try:
            attack(created)
        finally:
            os.kill(created.pid, signal.SIGKILL)

    return attack_and_kill


def wait_for(created: Created, name: str) -> None:
    while not os.path.exists(f"/proc/{created.pid}/root/{name}"):
        os.kill(created.pid, 0)


def test_a_working_directory_among_the_descriptors(
    run: Run, shell_spec: Spec, cgroup: Cgroup, tmp_path: Path
) -> None:
    """CVE-2024-21626: a descriptor of the host as the place to start in."""
    (tmp_path / "marker").touch()
    script = "test -e marker && echo outside; test -e ..${PWD}/marker && echo out; echo in"
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)  # noqa: FBT003
    tried = [*range(3, 16), held]
    try:
        for number in tried:
            document = shell_spec(script)
            process = document["process"]
            assert isinstance(process, dict)
            process["cwd"] = f"/proc/self/fd/{number}"
            with contextlib.suppress(KedgeError):
                assert run(document).output == "in\n"

        def attack(created: Created) -> None:
            for number in tried:
                for alone in (True, False):
                    inner: JsonObject = {
                        "cwd": f"/proc/self/fd/{number}", "args": ["sh", "-c", script],
                        "env": ["PATH=/bin", "HOME=/"],
                    }  # fmt: skip
                    assert said(created, document, inner, cgroup, alone=alone) in {
                        "in\n",
                        "refused",
                    }

        document = shell_spec("exec sleep 60")
        run(document, meanwhile=killing(attack))
    finally:
        os.close(held)


def said(
    created: Created, document: JsonObject, inner: JsonObject, cgroup: Cgroup, *, alone: bool
) -> str:
    """Return what another process prints, or that there could be none."""
    reading, writing = os.pipe()
    try:
        try:
            started = exec_process(
                created.pidfd, parse_spec(document), parse_process(inner), init_pid=created.pid,
                container_id="test", stdio=Stdio(-1, writing, writing), cgroup=cgroup, alone=alone,
            )  # fmt: skip
        except KedgeError:
            return "refused"
        finally:
            os.close(writing)
        text = read_all(reading)
        os.waitpid(started.pid, 0)
        os.close(started.pidfd)
        return text
    finally:
        os.close(reading)


@pytest.mark.parametrize("what", ["namespace", "bind", "hostname"])
def test_a_field_longer_than_a_message_can_hold(run: Run, shell_spec: Spec, what: str) -> None:
    """CVE-2021-43784: what did not fit was read as further instructions."""
    long = "/" + "a/" * 40000 + "x"
    document = shell_spec("true")
    linux = document["linux"]
    assert isinstance(linux, dict)
    if what == "namespace":
        linux["namespaces"] = [{"type": "mount"}, {"type": "network", "path": long}]
    elif what == "bind":
        bind(document, Path(long), "/x")
    else:
        document["hostname"] = long
    with pytest.raises(KedgeError, match=r"(?i)too long|invalid argument"):
        run(document)


def test_a_process_inherits_no_capability(command: Command, shell_spec: Spec) -> None:
    """CVE-2022-24769, CVE-2022-27650 and CVE-2022-29162: rights that outlive a change of user."""
    command.write(shell_spec("exec sleep 60"))
    command("run", "-d", "-b", str(command.bundle), "c")
    look = ("grep", "-E", "CapInh|CapAmb", "/proc/self/status")
    for flags in ((), ("--cap", "CAP_NET_RAW"), ("--user", "1000", "--cap", "CAP_NET_RAW")):
        assert command("exec", *flags, "c", *look).split()[1::2] == ["0" * 16] * 2
    assert command("exec", "--user", "1", "c", "sh", "-c", "id -u; id -g").split() == ["1", "0"]


def poison(root: Path) -> int:
    """Put a module that leaves a trace wherever this interpreter would look for one."""
    trap = root / "trap"
    trap.write_text("import os; os.close(os.open('/sprung', os.O_CREAT | os.O_WRONLY))\n")
    source = Path(kedge.__file__).parent
    stdlib = Path(sysconfig.get_path("stdlib"))
    made = 0
    for top in (stdlib, source):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in {"test", "site-packages"}]
            for name in names:
                if name.endswith(".py"):
                    path = root / Path(place).relative_to("/") / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.link(trap, path)
                    made += 1
    return made


def test_the_runtime_takes_no_module_from_a_container(
    command: Command, bundle: Path, shell_spec: Spec
) -> None:
    """CVE-2019-14271: code of the container, loaded by who entered it with the host's rights."""
    root = bundle / "rootfs"
    assert poison(root) > 500
    document = shell_spec("exec sleep 60")
    command.write(document)
    command("run", "-d", "-b", str(bundle), "c")
    for words, code in (
        (("c", "true"), 0),
        (("c", "nosuch"), 255),
        (("c", "/etc"), 255),
        (("--cwd", "/nosuch", "c", "true"), 255),
        (("--cwd", "/proc/self/fd/3", "c", "true"), 255),
        (("--user", "1000:1000", "--cap", "CAP_CHOWN", "c", "true"), 0),
        (("--env", "A=\udcff", "c", "true"), 0),
    ):
        command("exec", *words, code=code)
    command("kill", "c", "KILL")
    command("delete", "--force", "c")
    wrong: list[JsonObject] = [
        {"args": ["/etc"]},
        {"cwd": "/bin/sh"},
        {"user": {"uid": 7, "gid": 7}},
    ]
    for process in wrong:
        changed = shell_spec("true")
        own = changed["process"]
        assert isinstance(own, dict)
        own.update(process)
        command.write(changed)
        with contextlib.suppress(AssertionError):
            command("run", "-b", str(bundle), "c")
    assert not (root / "sprung").exists()
    # The trap is one: whoever runs it springs it.
    text = (root / "trap").read_text().replace("/sprung", f"{root}/sprung")
    subprocess.run([sys.executable, "-c", text], check=True)
    assert (root / "sprung").exists()


def test_a_null_device_that_is_exchanged_for_a_link(
    run: Run, bundle: Path, shell_spec: Spec
) -> None:
    """CVE-2025-31133: what masks a path is what the image says, or only a link to it."""
    dev = bundle / "rootfs/dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o020666, os.makedev(1, 3))
    (dev / "link").symlink_to("/etc/passwd")
    document = shell_spec("stat -c %t:%T /proc/keys")
    without_dev(document)
    seen: set[str] = set()
    with swapping(dev / "null", dev / "link"):
        for number in range(_MOST_ROUNDS):
            if number >= _ROUNDS and len(seen) > 1:
                break
            try:
                seen.add(run(document).output)
            except KedgeError as error:
                seen.add(re.sub(r".*/dev/null.*", "refused", str(error)))
    assert seen == {"refused", "1:3\n"}
