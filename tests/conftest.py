"""Rules for every test: what needs the host runs alone, as root, and leaves it as it was."""

import compileall
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import (
    SESSION_VARIABLE,
    LeakDetector,
    describe,
    detach_mounts,
    remove_common_cgroups,
)

ON_THE_HOST = ("integration", "interop")
_HERE = Path(__file__).parent

# A shell that starts this in the background has it ignore SIGINT, and every program it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails on a clock: a busy machine is no bug.
settings.register_profile(
    "kedge", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("kedge")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the source once: where Python may write no bytecode, each engine would."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(_HERE.parent / "src", quiet=1)


def on_the_host(node: pytest.Item | pytest.Collector) -> bool:
    return any(node.get_closest_marker(name) for name in ON_THE_HOST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if on_the_host(item):
            # One worker for all of them: two at a time could not tell whose leak it is.
            item.add_marker(pytest.mark.xdist_group("host"))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session", autouse=True)
def session_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything made with `tempfile` goes; short, because socket paths end at 107 bytes."""
    # pytest keeps the folders of the last sessions to look at, so they are not below this one.
    kept = tmp_path_factory.getbasetemp()
    directory = Path(tempfile.mkdtemp(prefix="kt-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(directory))
        patch.setenv("TMPDIR", str(directory))
        patch.setenv(SESSION_VARIABLE, directory.name)
        yield directory
    if os.geteuid() == 0:
        detach_mounts((directory, kept))
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def leak_detector(
    session_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LeakDetector]:
    roots = (tmp_path_factory.getbasetemp(),)
    detector = LeakDetector(session_directory.name, session_directory, roots)
    detector.join_host()
    yield detector
    if detector.is_alone():
        remove_common_cgroups()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_by_the_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module whose shared fixtures leave something on the host."""
    folders = request.path.relative_to(_HERE).parts
    if os.geteuid() != 0 or folders[0] not in ON_THE_HOST:
        yield
        return
    detector: LeakDetector = request.getfixturevalue("leak_detector")
    before = detector.snapshot()
    yield
    leaks = detector.wait_until_gone(before)
    if leaks:
        pytest.fail(f"the module's fixtures\n{describe(leaks)}", pytrace=False)


@pytest.fixture(autouse=True)
def nothing_left_by_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test on the host that leaves anything there."""
    if os.geteuid() != 0 or not on_the_host(request.node):
        yield
        return
    detector: LeakDetector = request.getfixturevalue("leak_detector")
    before = detector.snapshot()
    yield
    leaks = detector.wait_until_gone(before)
    if leaks:
        pytest.fail(describe(leaks), pytrace=False)
