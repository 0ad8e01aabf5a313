"""``POST /build``: the context from the request, the builder in a thread, its events as the stream."""

import threading
from collections.abc import Callable

import msgspec

from kedge.builder.events import Event, PullProgress
from kedge.builder.steps import BaseImage
from kedge.distribution.progress import PullEvent
from kedge.distribution.pull import Puller
from kedge.engine.context import EngineContext
from kedge.engine.images import pull_message
from kedge.errdefs import NotFoundError
from kedge.images.image import Image
from kedge.lib.jsontypes import JsonObject
from kedge.oci.platforms import Platform
from kedge.oci.references import parse_reference


class EngineBaseResolver:
    """Satisfies the builder's ``BaseResolver``: the store first, then the registry."""

    def __init__(self, context: EngineContext, puller: Puller) -> None:
        """Look in ``context``'s store and pull with ``puller``."""
        self._context = context
        self._puller = puller

    def resolve(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> BaseImage:
        """Return the image, pulled where it is missing or ``pull`` asks for it, and unpacked."""
        image = None if pull else self._find(reference, platform)
        if image is None:
            name = parse_reference(reference).with_default_tag()

            def report(event: PullEvent) -> None:
                message: JsonObject = msgspec.to_builtins(pull_message(event))
                on_event(PullProgress(message=message))

            result = self._puller.pull(name, platform=platform, progress=report, cancel=cancel)
            image = result.image
        self._context.images.unpack(image)
        return BaseImage(
            id=image.id, config=image.config, layers=tuple(layer.blob for layer in image.layers)
        )

    def _find(self, reference: str, platform: Platform) -> Image | None:
        try:
            image = self._context.images.resolve(reference)
        except NotFoundError:
            return None
        here, wanted = image.config.image_platform().normalized(), platform.normalized()
        matches = (here.os, here.architecture) == (wanted.os, wanted.architecture)
        return image if matches else None
