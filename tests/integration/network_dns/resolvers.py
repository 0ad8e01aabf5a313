"""Name servers of the test's own, for the embedded one to ask."""

import contextlib
import socket
import threading
from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rrset

_LOCAL = "127.0.0.1"


class FakeResolver:
    """A resolver, on the host's loopback by default, that answers as it is told."""

    def __init__(
        self,
        answer: Callable[[dns.message.Message], list[bytes]],
        port: int = 0,
        address: str = _LOCAL,
    ) -> None:
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind((address, port))
        self.port = int(self.datagrams.getsockname()[1])
        self.streams = socket.create_server((address, self.port))
        self.questions: list[str] = []
        self._answer = answer
        for work in (self._serve_datagrams, self._serve_streams):
            threading.Thread(target=work, daemon=True).start()

    def _answers(self, data: bytes) -> list[bytes]:
        message = dns.message.from_wire(data)
        self.questions.append(str(message.question[0].name))
        return self._answer(message)

    def _serve_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            # A shutdown reads as an empty datagram.
            while (received := self.datagrams.recvfrom(4096))[0]:
                data, client = received
                for answer in self._answers(data):
                    self.datagrams.sendto(answer, client)

    def _serve_streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.streams.accept()
                with peer:
                    head = peer.recv(2, socket.MSG_WAITALL)
                    data = peer.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
                    for answer in self._answers(data):
                        peer.sendall(len(answer).to_bytes(2, "big") + answer)

    def close(self) -> None:
        # A blocked call wakes only from a shutdown, not from a close.
        with contextlib.suppress(OSError):
            self.datagrams.shutdown(socket.SHUT_RDWR)
        self.streams.shutdown(socket.SHUT_RDWR)
        self.datagrams.close()
        self.streams.close()


def addresses(message: dns.message.Message, *texts: str) -> bytes:
    """An answer with these addresses, or no such name."""
    answer = dns.message.make_response(message)
    if not texts:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    for text in texts:
        record = dns.rrset.from_text(message.question[0].name, 60, "IN", "A", text)
        answer.answer.append(record)
    return answer.to_wire()
