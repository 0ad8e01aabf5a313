"""How far a log has been sent to one reader, so that another engine can go on from there. Pure."""

from collections.abc import Sequence

from kedge.api.logmarks import LogMark
from kedge.logdrivers.reading import LogBatch


class LogProgress:
    """Follows what is sent of a log, beginning behind a mark.

    A stamp alone is no place: many lines share one. How blocks of the file are cut into batches
    differs from reader to reader, so bytes are counted.
    """

    def __init__(self, start: LogMark) -> None:
        """Have sent what ``start`` says."""
        self._stamp = start.stamp.encode()
        self._size = start.size
        self._skip = start.size

    @property
    def mark(self) -> LogMark:
        """Where the next reader goes on."""
        return LogMark(self._stamp.decode(), self._size)

    def take(self, batches: Sequence[LogBatch]) -> list[LogBatch]:
        """Return what of ``batches``, which begin at the start's stamp, was not sent before."""
        news: list[LogBatch] = []
        for batch in batches:
            data = batch.data
            if batch.stamp != self._stamp:
                self._stamp, self._size, self._skip = batch.stamp, 0, 0
            elif self._skip:
                known = min(self._skip, len(data))
                self._skip -= known
                data = data[known:]
            if data:
                self._size += len(data)
                news.append(batch._replace(data=data))
        return news
