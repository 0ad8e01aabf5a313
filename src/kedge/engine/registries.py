"""Registry use cases: push, login, and what a registry has under a name."""

import functools
import threading
from collections.abc import AsyncIterator

from kedge.api.types.distribution import DistributionInspect, OciDescriptor, OciPlatform
from kedge.api.types.progress import Aux, ProgressMessage
from kedge.api.types.system import AuthConfig, AuthResponse
from kedge.distribution.progress import PullEvent
from kedge.distribution.push import Pusher
from kedge.distribution.registry import RegistryInspector
from kedge.engine.context import EngineContext
from kedge.engine.images import make_credentials, pull_message
from kedge.engine.threadstream import ThreadStream
from kedge.errdefs import InvalidParameterError
from kedge.oci.platforms import parse_platform
from kedge.oci.references import Reference, parse_reference


class RegistryService:
    """Satisfies the server's ``RegistryBackend``."""

    def __init__(
        self, context: EngineContext, pusher: Pusher, inspector: RegistryInspector
    ) -> None:
        """Push from ``context``'s store."""
        self._context = context
        self._pusher = pusher
        self._inspector = inspector

    async def push(
        self, name: str, *, tag: str, platform: str, auth: AuthConfig | None
    ) -> AsyncIterator[ProgressMessage]:
        """Push one tag of a repository, or all of them, and report how it goes.

        Raises:
            InvalidParameterError: No name, tag or platform; what fails later is the last message.
        """
        reference = parse_reference(name)
        if tag:
            reference = reference.with_tag(tag)
        elif reference.digest:
            raise InvalidParameterError("cannot push a digest reference")
        wanted = parse_platform(platform) if platform else None
        cancel = threading.Event()
        stream = ThreadStream[PullEvent](self._context.jobs, on_close=cancel.set)
        stream.run(
            lambda emit: self._pusher.push(
                reference,
                platform=wanted,
                credentials=make_credentials(auth),
                progress=emit,
                cancel=cancel,
            )
        )
        return self._messages(stream, reference)

    async def _messages(
        self, stream: ThreadStream[PullEvent], reference: Reference
    ) -> AsyncIterator[ProgressMessage]:
        async with stream:
            async for event in stream:
                yield push_message(event)
        self._context.events.publish(
            "image", "push", reference.familiar(), {"name": reference.familiar_name}
        )

    async def auth(self, config: AuthConfig) -> AuthResponse:
        """Check credentials with their registry.

        Raises:
            UnauthorizedError: They are not good, and why.
            UnavailableError: The registry cannot be asked.
        """
        credentials = make_credentials(config)
        token = await self._context.run_job(
            functools.partial(self._inspector.login, config.serveraddress, credentials)
        )
        return AuthResponse(status="Login Succeeded", identity_token=token)

    async def inspect_remote(self, name: str, *, auth: AuthConfig | None) -> DistributionInspect:
        """Return what the registry has under ``name``."""
        reference = parse_reference(name)
        found = await self._context.run_job(
            functools.partial(self._inspector.inspect, reference, make_credentials(auth))
        )
        return DistributionInspect(
            descriptor=OciDescriptor(
                media_type=found.media_type, digest=found.digest, size=found.size
            ),
            platforms=[
                OciPlatform(
                    architecture=platform.architecture,
                    os=platform.os,
                    os_version=platform.os_version,
                    variant=platform.variant,
                )
                for platform in found.platforms
            ],
        )


def push_message(event: PullEvent) -> ProgressMessage:
    """Return a line of the push's progress as the API sends it."""
    if event.pushed is None:
        return pull_message(event)
    tag, digest, size = event.pushed
    return ProgressMessage(aux=Aux(tag=tag, digest=digest, size=size))
