"""Exec into a hostile container: what it can see and reach of the process that comes in.

CVE-2016-9962 and CVE-2019-5736: a process that enters is the host's until it has let go of
everything of the host.
"""

from collections.abc import Iterator

import pytest

from tests.engine import Engine

pytestmark = pytest.mark.integration

_ROUNDS = 10


@pytest.fixture
def victim(engine: Engine) -> Iterator[str]:
    yield "victim"
    engine.docker("rm", "-f", "watcher", "victim", check=False)


def watch(root: str) -> str:
    """Return a script that looks into every process it sees, for as long as it runs."""
    return f"""
        while :; do for i in /proc/[0-9]*; do
            test -e $i/root{root} && echo root $i >> /seen
            test -e $i/cwd{root} && echo cwd $i >> /seen
            for j in $i/fd/*; do test -e $j{root} && echo descriptor $j >> /seen; done
        done; echo x >> /rounds; done
    """


@pytest.mark.parametrize("terminal", [False, True])
def test_one_that_may_trace_finds_nothing_of_the_host(
    engine: Engine, victim: str, *, terminal: bool
) -> None:
    script = watch(str(engine.root))
    flags = ("-d", "--name", victim, "--cap-add", "SYS_PTRACE")
    engine.docker("run", *flags, "busybox", "sh", "-c", script)
    words = ("-t",) if terminal else ()
    for _ in range(_ROUNDS):
        assert engine.docker("exec", *words, victim, "echo", "in").stdout.strip() == "in"
    seen = engine.docker("exec", victim, "sh", "-c", "cat /seen 2>/dev/null; wc -l < /rounds")
    *found, rounds = seen.stdout.splitlines()
    assert found == []
    assert int(rounds) > 0


def test_a_neighbour_that_may_trace_finds_nothing_either(engine: Engine, victim: str) -> None:
    """The container itself may not trace, but one that shares its processes may."""
    engine.docker("run", "-d", "--name", victim, "busybox", "sleep", "600")
    flags = ("-d", "--name", "watcher", "--pid", f"container:{victim}", "--cap-add", "SYS_PTRACE")
    engine.docker("run", *flags, "busybox", "sh", "-c", watch(str(engine.root)))
    for _ in range(_ROUNDS):
        engine.docker("exec", victim, "true")
    seen = engine.docker("exec", "watcher", "sh", "-c", "cat /seen 2>/dev/null; wc -l < /rounds")
    *found, rounds = seen.stdout.splitlines()
    assert found == []
    assert int(rounds) > 0


def test_a_container_that_joins_its_processes_shows_nothing_of_the_host(
    engine: Engine, victim: str
) -> None:
    """The same window, while a container is made: until it has pivoted, it is the host's."""
    flags = ("-d", "--name", victim, "--cap-add", "SYS_PTRACE")
    engine.docker("run", *flags, "busybox", "sh", "-c", watch(str(engine.root)))
    for words in (("--rm",), ("--rm", "-t")):
        flags = (*words, "--pid", f"container:{victim}")
        script = "cat /proc/1/comm; exec ls -d /proc/self/"
        for _ in range(_ROUNDS // 2):
            done = engine.docker("run", *flags, "busybox", "sh", "-c", script)
            assert done.stdout.split() == ["sh", "/proc/self/"]
    seen = engine.docker("exec", victim, "sh", "-c", "cat /seen 2>/dev/null; wc -l < /rounds")
    *found, rounds = seen.stdout.splitlines()
    assert found == []
    assert int(rounds) > 0
