"""Where a container's output goes: its log file, a logging service of the host, or both.

A file takes what it is given at once. A service may be slow: then either the program waits
(Docker's ``mode=blocking``, as for a slow client) or lines are dropped (``non-blocking``).
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from kedge.lib.jsontypes import JsonObject
from kedge.shim.jsonlog import LogFile, OnGap
from kedge.shim.logconfig import LogConfig
from kedge.shim.luggage import Luggage
from kedge.shim.reactor import Reactor

OnRelief: TypeAlias = Callable[[], None]


class LogSink(Protocol):
    """Where output is kept."""

    @property
    def is_backed_up(self) -> bool:
        """Whether the program should wait."""
        ...

    def when_relieved(self, tell: OnRelief) -> None:
        """Call ``tell`` whenever `is_backed_up` may have become false."""
        ...

    def write(self, stream: int, chunk: bytes) -> None:
        """Take output of one stream."""
        ...

    def try_pack(self, luggage: Luggage, /) -> JsonObject | None:
        """Return what another process opens an equal sink with; None where none can."""
        ...

    def close(self) -> None:
        """Finish the last line and give everything back."""
        ...


class FileSink:
    """The log file alone."""

    is_backed_up = False

    def __init__(self, file: LogFile) -> None:
        """Write to ``file``."""
        self.write = file.write
        self.close = file.close
        self.try_pack = file.try_pack

    def when_relieved(self, tell: OnRelief) -> None:
        """Do nothing: a file never holds anybody back."""


class TeeSink:
    """A service of the host, and a file for ``docker logs``."""

    def __init__(self, service: LogSink, file: LogFile | None) -> None:
        """Write to ``service`` and, if there is one, to ``file``."""
        self._service = service
        self._file = file

    @property
    def is_backed_up(self) -> bool:
        """Whether the service is behind."""
        return self._service.is_backed_up

    def when_relieved(self, tell: OnRelief) -> None:
        """Call ``tell`` when the service may have caught up."""
        self._service.when_relieved(tell)

    def write(self, stream: int, chunk: bytes) -> None:
        """Take output of one stream."""
        if self._file is not None:
            self._file.write(stream, chunk)
        self._service.write(stream, chunk)

    def try_pack(self, _luggage: Luggage) -> None:
        """Stay: what the service has not got yet is in this process."""

    def close(self) -> None:
        """Close both."""
        if self._file is not None:
            self._file.close()
        self._service.close()


def open_sink(config: LogConfig, reactor: Reactor, host_netns: int, *, on_gap: OnGap) -> LogSink:
    """Open what ``config`` asks for.

    Args:
        config: What to keep and where to send it.
        reactor: Where to wait.
        host_netns: The host's network namespace, where this process is in another one; else -1.
            The sink owns it.
        on_gap: Told when the file cannot be written.

    Raises:
        OSError: The file cannot be made, or the service is not there.
    """
    file = None
    if config.path:
        file = LogFile(config, later=lambda action: reactor.call_later(0, action), on_gap=on_gap)
    if config.forward is None:
        assert file is not None
        return FileSink(file)
    # Most containers have no use for this code, and each shim's memory counts.
    from kedge.shim.logforward import open_forwarder  # noqa: PLC0415

    try:
        service = open_forwarder(
            config.forward, reactor, host_netns=host_netns, buffer_size=config.buffer_size
        )
    except BaseException:
        if file is not None:
            file.close()
        raise
    return TeeSink(service, file)


def resume_sink(
    config: LogConfig, reactor: Reactor, packed: tuple[int, JsonObject], *, on_gap: OnGap
) -> LogSink:
    """Go on with the descriptor and the words of a `LogSink.try_pack` in another process."""

    def later(action: Callable[[], None]) -> None:
        reactor.call_later(0, action)

    return FileSink(LogFile(config, later=later, on_gap=on_gap, resumed=packed))
