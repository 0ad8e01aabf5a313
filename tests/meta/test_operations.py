"""Every served operation is asked for by a test on a real engine."""

from kedge.server.router import Support
from kedge.server.routes import ALL_ROUTES
from tests.meta.operations import find_tests, operations_in

# Rarer operations (P1) and the engine's own.
WITHOUT = {"ImageSearch", "KedgeImageBootstrap"}


def test_every_served_operation_has_a_test() -> None:
    tested = find_tests()
    served = {route.operation for route in ALL_ROUTES if route.support is Support.SERVED}
    assert served - WITHOUT - set(tested) == set()


def test_only_what_a_test_asks_for_counts() -> None:
    source = '''
def helper(): ask("GET", "/info")
def test_a():
    """ask("GET", "/version")"""
    ask(engine, "POST", f"/v1.51/containers/{name}/start?x=1")
    engine.docker("volume", "rm", "v")
    for method, path in (("GET", "/images/a/b/json"), ("PUT", "/info")): ...
'''
    assert set(operations_in(source)) == {
        ("test_a", "ContainerStart"), ("test_a", "VolumeDelete"), ("test_a", "ImageInspect"),
    }  # fmt: skip
