"""The containers a verb is about: of a project, of some services, or the one of a service."""

from collections.abc import Iterable, Sequence
from typing import Final

from kedge.cli.compose.opening import find_application
from kedge.cli.flags import Flag, Options, integer, value
from kedge.client.http import EngineClient
from kedge.compose.application import Application
from kedge.compose.observed import Container, list_containers
from kedge.errdefs import InvalidParameterError, NotFoundError

INDEX_FLAG: Final[Flag] = value(
    "index", "N", "Which container, where the service has several", check=integer
)


def find_containers(
    options: Options, client: EngineClient, services: Sequence[str] = ()
) -> tuple[Application, list[Container]]:
    """Return the project and its containers, sorted by name; of ``services`` where any is named.

    Raises:
        NotFoundError: The project has no such service, and nothing of that name runs either.
    """
    app = find_application(options, client, services)
    containers = sorted(list_containers(client, app.name), key=sort_key)
    if services:
        check_services(app, containers, services)
        containers = [one for one in containers if one.service in services]
    return app, containers


def sort_key(one: Container) -> tuple[str, int, str]:
    """Order containers by service and number."""
    return one.service, one.number, one.name


def check_services(
    app: Application, containers: Iterable[Container], services: Iterable[str]
) -> None:
    """Refuse a service that neither a file nor a container knows.

    Raises:
        NotFoundError: Such a service.
    """
    known = {*app.services, *app.disabled, *(one.service for one in containers)}
    for name in services:
        if name not in known:
            from kedge.cli.flags import nearest  # noqa: PLC0415 - only on a mistake

            raise NotFoundError(f"no such service: {name}{nearest(name, sorted(known))}")


def regular(containers: Iterable[Container]) -> list[Container]:
    """Return the containers without those ``run`` made."""
    return [one for one in containers if not one.oneoff]


def find_one(
    options: Options, client: EngineClient, service: str, *, running: bool = True
) -> Container:
    """Return the container of a service that ``--index`` means; without it the first one.

    Raises:
        NotFoundError: There is none.
        InvalidParameterError: An index that is none.
    """
    index = options.integer("index")
    if options.given("index") and index < 1:
        raise InvalidParameterError(f"--index {index}: the first container has number 1")
    _, containers = find_containers(options, client, [service])
    return choose_one(regular(containers), service, index, running=running)


def choose_one(
    containers: Sequence[Container], service: str, index: int, *, running: bool
) -> Container:
    """Return the container with a number, or the first of those there are.

    Raises:
        NotFoundError: There is none.
    """
    found = [one for one in containers if not index or one.number == index]
    alive = [one for one in found if one.is_running]
    if alive:
        return alive[0]
    if found and not running:
        return found[0]
    which = f'container #{index} of service "{service}"' if index else f'service "{service}"'
    state = f": it is {found[0].status.lower() or found[0].state}" if found else ""
    raise NotFoundError(f"{which} is not running{state}")
