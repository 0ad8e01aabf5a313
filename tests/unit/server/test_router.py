import pytest

from kedge.errdefs import InvalidParameterError
from kedge.server.application import Application
from kedge.server.request import Request
from kedge.server.response import AnyResponse, Response
from kedge.server.router import Router, Support
from kedge.server.routes import ALL_ROUTES


async def answer(request: Request) -> AnyResponse:
    del request
    return Response()


ROUTER = Router((route, answer) for route in ALL_ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "operation", "name"),
    [
        ("GET", "/containers/json", "ContainerList", ""),
        ("GET", "/containers/json/json", "ContainerInspect", "json"),
        ("GET", "/containers/web/attach/ws", "ContainerAttachWebsocket", "web"),
        ("DELETE", "/containers/web", "ContainerDelete", "web"),
        ("POST", "/containers/prune", "ContainerPrune", ""),
        ("POST", "/containers/web/exec", "ContainerExec", "web"),
        ("GET", "/images/json", "ImageList", ""),
        ("GET", "/images/docker.io/library/redis/json", "ImageInspect", "docker.io/library/redis"),
        ("GET", "/images/localhost:5000/a/b@sha256:0/history", "ImageHistory",
         "localhost:5000/a/b@sha256:0"),
        ("GET", "/images/get", "ImageGetAll", ""),
        ("GET", "/images/a/get", "ImageGet", "a"),
        ("DELETE", "/images/a/b/c:1", "ImageDelete", "a/b/c:1"),
        ("GET", "/networks/my/net", "NetworkInspect", "my/net"),
        ("GET", "/networks/", "NetworkListSlash", ""),
        ("POST", "/networks/create", "NetworkCreate", ""),
        ("GET", "/volumes/json", "VolumeInspect", "json"),
        ("HEAD", "/_ping", "SystemPingHead", ""),
    ],
)  # fmt: skip
def test_paths_find_their_operation(method: str, path: str, operation: str, name: str) -> None:
    match = ROUTER.match(method, path)
    assert match is not None
    assert (match.route.operation, match.name) == (operation, name)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ping"),
        ("PUT", "/containers/json"),
        ("GET", "/containers//json"),
        ("GET", "/containers"),
        ("GET", "/containers/web/nothing"),
        ("GET", "/nothing"),
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/volumes/"),
    ],
)
def test_other_paths_find_none(method: str, path: str) -> None:
    assert ROUTER.match(method, path) is None


def test_every_operation_and_every_route_is_listed_once() -> None:
    operations = [route.operation for route in ALL_ROUTES]
    paths = [(route.method, route.path) for route in ALL_ROUTES]
    assert len(set(operations)) == len(operations)
    assert len(set(paths)) == len(paths)


def test_every_listed_route_finds_itself() -> None:
    for route in ALL_ROUTES:
        match = ROUTER.match(route.method, route.path.replace("{name}", "some/name:1"))
        assert match is not None
        assert match.route == route


def test_a_served_operation_needs_a_handler_and_a_handler_an_operation() -> None:
    handlers = {route.operation: answer for route in ALL_ROUTES if route.support is Support.SERVED}
    Application(handlers)
    with pytest.raises(InvalidParameterError, match="without an operation: Extra"):
        Application({**handlers, "Extra": answer})
    del handlers["SystemInfo"]
    with pytest.raises(InvalidParameterError, match="no handler for operation SystemInfo"):
        Application(handlers)
