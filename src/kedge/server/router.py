"""From method and path to a route.

Names in paths may hold slashes (``/images/docker.io/library/redis/json``), so a route is found
by its first and last segments, not by counting them.
"""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from kedge.server.request import Request
from kedge.server.response import AnyResponse

Handler: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]

_NAME: Final = "{name}"


class Support(StrEnum):
    """How far this engine goes with an operation."""

    SERVED = "served"
    # Answered as an engine without swarm and plug-ins does, so that no client breaks.
    PLAIN = "plain engine"
    REFUSED = "never: 501"


class Route(NamedTuple):
    """One operation of the API.

    Attributes:
        path: At most one ``{name}``, which matches anything but nothing.
        operation: The operation's id in Docker's API description.
        cancellable: The handler is cancelled when its client goes; for those that only watch or
            that a user breaks off with ^C, never for those that would leave half a change.
            A hijacked session sees for itself that its client has gone.
    """

    method: str
    path: str
    operation: str
    support: Support = Support.SERVED
    cancellable: bool = False


class _Pattern(NamedTuple):
    prefix: str
    suffix: str
    route: Route
    handler: Handler


class Match(NamedTuple):
    """A route with its handler and the name in the path."""

    route: Route
    handler: Handler
    name: str


class Router:
    """Finds routes; built once."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, routes: Iterable[tuple[Route, Handler]]) -> None:
        """Take the routes; among patterns, the one with the longer suffix wins."""
        self._exact: dict[tuple[str, str], Match] = {}
        self._patterns: dict[tuple[str, str, str], list[_Pattern]] = {}
        for route, handler in routes:
            prefix, name, suffix = route.path.partition(_NAME)
            if not name:
                self._exact[route.method, route.path] = Match(route, handler, "")
                continue
            key = (route.method, _first_segment(prefix), suffix.rpartition("/")[2])
            self._patterns.setdefault(key, []).append(_Pattern(prefix, suffix, route, handler))
        for patterns in self._patterns.values():
            patterns.sort(key=lambda pattern: -len(pattern.suffix))

    def match(self, method: str, path: str) -> Match | None:
        """Return the route for ``path``, which has no version prefix; None when there is none."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        first = _first_segment(path)
        last = path.rpartition("/")[2]
        return self._match_pattern((method, first, last), path) or (
            self._match_pattern((method, first, ""), path)
        )

    def _match_pattern(self, key: tuple[str, str, str], path: str) -> Match | None:
        for prefix, suffix, route, handler in self._patterns.get(key, ()):
            name = path[len(prefix) : len(path) - len(suffix)]
            if name and path.startswith(prefix) and path.endswith(suffix):
                return Match(route, handler, name)
        return None


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]
