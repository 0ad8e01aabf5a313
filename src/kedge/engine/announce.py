"""Container events with the attributes Docker gives them: labels, image and name."""

from collections.abc import Mapping

from kedge.engine.containers import Container
from kedge.engine.context import EngineContext


def announce(
    context: EngineContext,
    container: Container,
    action: str,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Publish that ``action`` happened to ``container``."""
    config = container.record.config
    context.events.publish(
        "container",
        action,
        container.id,
        {**config.labels, "image": config.image, "name": container.name, **(extra or {})},
    )
