"""What a registry counts, in the text format of Prometheus."""

from collections import Counter
from typing import Final

from kedge.registry.store import Collected
from kedge.server.response import Response

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters since the start; used by the one thread of the event loop."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._sent_bytes = 0
        self._received_bytes = 0
        self._collections = 0
        self._freed_bytes = 0

    def count_request(self, method: str, status: int) -> None:
        """Count an answered request."""
        self._requests[method, status] += 1

    def count_sent(self, size_bytes: int) -> None:
        """Count bytes of blobs and manifests given out."""
        self._sent_bytes += size_bytes

    def count_received(self, size_bytes: int) -> None:
        """Count bytes of blobs and manifests taken in."""
        self._received_bytes += size_bytes

    def count_collection(self, done: Collected) -> None:
        """Count a garbage collection."""
        self._collections += 1
        self._freed_bytes += done.freed_bytes

    def answer(self, open_uploads: int) -> Response:
        """Return everything counted."""
        lines = [
            "# HELP kedge_registry_requests_total Requests answered.",
            "# TYPE kedge_registry_requests_total counter",
        ]
        lines.extend(
            f'kedge_registry_requests_total{{method="{method}",status="{status}"}} {count}'
            for (method, status), count in sorted(self._requests.items())
        )
        for name, kind, text, value in (
            ("sent_bytes_total", "counter", "Bytes of content sent.", self._sent_bytes),
            ("received_bytes_total", "counter", "Bytes of content received.", self._received_bytes),
            ("collections_total", "counter", "Garbage collections.", self._collections),
            ("freed_bytes_total", "counter", "Bytes freed by them.", self._freed_bytes),
            ("open_uploads", "gauge", "Uploads that are not finished.", open_uploads),
        ):
            lines += [
                f"# HELP kedge_registry_{name} {text}",
                f"# TYPE kedge_registry_{name} {kind}",
                f"kedge_registry_{name} {value}",
            ]
        return Response(200, ("\n".join(lines) + "\n").encode(), _CONTENT_TYPE)
