"""testcontainers for Python, unchanged but for its reaper, whose image no test can pull."""

# testcontainers leaves out many types.
# pyright: basic

import gc
from collections.abc import Iterator

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.engine import Engine, page, shared_engine

__all__ = ["shared_engine"]
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def here(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine, as the environment's."""
    monkeypatch.setenv("DOCKER_HOST", shared_engine.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(shared_engine.root / "docker"))
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    yield shared_engine
    # The library leaves its clients to the collector: here, not in another test.
    gc.collect()


def test_containers_that_wait_for_each_other(here: Engine) -> None:
    serve = "echo ready; mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w"
    with Network() as network:
        web = DockerContainer("busybox").with_command(["sh", "-c", serve])
        web.with_exposed_ports(80).with_env("A", "b").with_network(network)
        web.with_network_aliases("web").waiting_for(LogMessageWaitStrategy("ready"))
        with web:
            assert page(int(web.get_exposed_port(80))) == "page\n"
            assert web.exec(["sh", "-c", "echo $A"]).output == b"b\n"
            asks = DockerContainer("busybox").with_command("wget -q -O- http://web/")
            with asks.with_network(network):
                assert asks.get_wrapped_container().wait()["StatusCode"] == 0
                assert asks.get_logs() == (b"page\n", b"")
    assert here.docker("ps", "-aq").stdout == ""


def test_an_image_of_its_own(here: Engine) -> None:
    context = here.root / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nCMD echo built\n")
    with DockerImage(path=context, tag="own:1") as image, DockerContainer(str(image)) as box:
        box.get_wrapped_container().wait()
        assert box.get_logs()[0] == b"built\n"
    assert here.docker("images", "-q", "own").stdout == ""
