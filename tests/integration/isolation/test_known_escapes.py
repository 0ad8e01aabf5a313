"""Ways out of a container that worked in other engines, tried on this one.

docs/reference/security.md lists all of them by their identifiers.
"""

from pathlib import Path

import pytest

from tests.engine import Engine
from tests.integration.isolation.conftest import inside

pytestmark = pytest.mark.integration


@pytest.fixture
def victim(engine: Engine) -> Path:
    """A folder of the host that no container may see or change."""
    found = engine.root / "victim"
    (found / "empty").mkdir(parents=True, exist_ok=True)
    (found / "secret").write_text("of the host")
    return found


def try_build(engine: Engine, *lines: str) -> str:
    """Build and return all that was printed, however it ended."""
    folder = engine.root / "context"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("\n".join(("FROM busybox", *lines, "")))
    words = ("build", "--no-cache", "--progress", "plain", "-t", "tried", str(folder))
    done = engine.kedge(*words, check=False)
    return done.stdout + done.stderr


def test_a_user_given_by_number_is_that_number(engine: Engine) -> None:
    """CVE-2016-3697: an image that calls root by a number."""
    files = {"passwd": b"1000:x:0:0:root:/:/bin/sh\n"}
    engine.build("FROM busybox\nCOPY passwd /etc/passwd\nUSER 1000\n", "numbered", files)
    assert engine.docker("run", "--rm", "numbered", "id", "-u").stdout == "1000\n"
    assert engine.docker("run", "--rm", "-u", "1000", "numbered", "id", "-u").stdout == "1000\n"


@pytest.mark.parametrize(
    "user", ["4294967296", "2147483648", "0:4294967296", "18446744073709551616"]
)
def test_an_id_too_large_is_not_root(engine: Engine, user: str) -> None:
    """CVE-2024-40635: an id that is root's when it is cut to 32 bits."""
    done = engine.docker("run", "--rm", "-u", user, "busybox", "id", check=False)
    assert "uids and gids must be in range 0-2147483647" in done.stderr


def test_a_huge_passwd_costs_no_memory(engine: Engine) -> None:
    """CVE-2026-61801 and CVE-2026-135844: a file of users that is read without an end."""
    engine.build("FROM busybox\nRUN truncate -s 8G /etc/passwd /etc/group\n", "huge")
    done = engine.docker("run", "--rm", "-u", "nobody", "huge", "true", check=False)
    assert "unable to find user nobody" in done.stderr
    look = engine.docker("run", "--rm", "-u", "7", "huge", "grep", "Uid", "/proc/self/status")
    assert look.stdout.split()[1] == "7"
    peak = next(
        int(line.split()[1])
        for line in Path(f"/proc/{engine.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert peak < 1 << 20


def test_a_volume_of_the_image_leads_nowhere_else(engine: Engine, victim: Path) -> None:
    """CVE-2022-23648: a volume whose first content comes from outside of the image."""
    up = f"/../../../../../../../..{victim}"
    said = try_build(engine, f"VOLUME {up}", f"RUN ln -s {up} /link", "VOLUME /link")
    assert "of the host" not in said
    if "rror" not in said:
        script = f"cat {victim}/secret /link/secret 2>&1; true"
        done = engine.docker("run", "--rm", "tried", "sh", "-c", script, check=False)
        assert "of the host" not in done.stdout
    assert sorted(path.name for path in victim.iterdir()) == ["empty", "secret"]


def test_what_a_step_mounted_is_taken_away_inside(engine: Engine, victim: Path) -> None:
    """CVE-2024-23652: the folder made for a mount is removed where a link leads by then."""
    said = try_build(
        engine,
        "RUN --mount=type=tmpfs,target=/a/empty --mount=type=tmpfs,target=/b/secret "
        f"mv /a /c; ln -s {victim} /a; mv /b /d; ln -s ../../../../../..{victim} /b; echo made",
    )
    assert "made" in said
    assert (victim / "empty").is_dir()
    assert (victim / "secret").read_text() == "of the host"


def test_mounts_of_a_step_come_from_where_they_say(engine: Engine, victim: Path) -> None:
    """CVE-2024-1753, CVE-2024-9675 and CVE-2024-23651: sources and names that lead out."""
    up = f"../../../../../../../../..{victim}"
    for first, mount in (
        (f"RUN ln -s {victim} /link", "type=bind,from=made,source=/link,target=/in"),
        (f"RUN ln -s {up} /link", "type=bind,from=made,source=/link,target=/in"),
        ("", f"type=bind,from=made,source={up},target=/in"),
        ("", f"type=cache,id={up},target=/in"),
        ("", f"type=cache,source={up},target=/in"),
        (f"RUN --mount=type=cache,id=c,target=/c ln -sfn {victim} /c/l",
         "type=cache,id=c,source=l,target=/in"),
    ):  # fmt: skip
        lines = (*filter(None, [first]), "FROM busybox", f"RUN --mount={mount} cat /in/secret; ls")
        folder = ("FROM busybox AS made", *lines)
        assert "of the host" not in try_build(engine, *folder)
    assert sorted(path.name for path in victim.iterdir()) == ["empty", "secret"]


def test_no_cgroup_of_a_containers_own_can_be_mounted(each: Engine) -> None:
    """CVE-2022-0492: a release agent is a program that the host runs."""
    script = """
        mkdir /c
        unshare -rm mount -t cgroup -o memory none /c && echo mounted
        mount -t cgroup -o memory none /c && echo mounted
        find / -xdev -name release_agent -exec sh -c 'echo /x > {} && echo written' ';'
        for i in /sys/fs/cgroup/*; do (echo /x > $i/release_agent) && echo written; done
    """
    assert inside(each, f"({script}) 2>/dev/null; echo end") == "end\n"


def test_no_abstract_socket_leads_to_the_engine(engine: Engine) -> None:
    """CVE-2020-15257: a shim that listens in the network namespace of the host."""
    engine.docker("run", "-d", "--name", "other", "busybox", "sleep", "600")
    try:
        script = "cat /proc/net/unix"
        paths = [
            line.split()[7]
            for line in inside(engine, script, "--network", "host").splitlines()[1:]
            if len(line.split()) > 7
        ]
        assert str(engine.socket) in paths
        abstract = [path for path in paths if path.startswith("@")]
        assert not [path for path in abstract if "kedge" in path or str(engine.root) in path]
    finally:
        engine.docker("rm", "-f", "other")


def test_other_users_of_the_host_reach_no_layer(engine: Engine) -> None:
    """CVE-2021-41091: programs of an image that run with its owner's rights, found on the host."""
    for name in ("data", "exec"):
        assert (engine.root / name).stat().st_mode & 0o007 in {0, 1}
    below = [path for path in (engine.root / "data").iterdir() if path.is_dir()]
    assert below
    open_to_all = [path for path in below if path.stat().st_mode & 0o001]
    top_is_open = (engine.root / "data").stat().st_mode & 0o001
    assert not (top_is_open and open_to_all), open_to_all
