"""Netlink: messages and attributes as bytes, and a socket that sends them in batches.

Vocabulary of ``netlink(7)`` and ``include/uapi/linux/netlink.h``. The codec is pure: it turns
values into bytes and back. `NetlinkSocket` sends many requests with one system call and collects
what the kernel says about them; an error names the request it belongs to.

What the numbers mean is the business of `rtnetlink` and `nftables`. No locking: one thread at a
time uses a socket.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

NLM_F_REQUEST: Final = 0x01
NLM_F_MULTI: Final = 0x02
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800
NLM_F_DUMP: Final = 0x300

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLA_F_NESTED: Final = 0x8000
_NLA_TYPE_MASK: Final = 0x3FFF
_NLMSGERR_ATTR_MSG: Final = 1
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_SO_SNDBUFFORCE: Final = 32

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_RECEIVE_BYTES: Final = 1 << 17
_DUMP_ATTEMPTS: Final = 64
_SEQUENCE_END: Final = 1 << 31
# The kernel answers while sendmsg still runs; a second without an answer means it never comes.
_ANSWER_TIMEOUT_S: Final = 10


class Request(NamedTuple):
    """One message to send, without the sequence number the socket gives it."""

    type: int
    flags: int
    body: bytes
    what: str
    """What the request does, for the error text: ``create link kedge0``."""


class Message(NamedTuple):
    """One received message."""

    type: int
    flags: int
    sequence: int
    body: bytes


class NetlinkError(OSError):
    """The kernel refused a request; ``what`` says which."""

    def __init__(self, number: int, what: str, detail: str = "") -> None:
        """Name the request that failed and the kernel's own explanation, where it gave one."""
        reason = os.strerror(number).lower()
        super().__init__(number, f"{what}: {reason}" + (f" ({detail})" if detail else ""))
        self.what = what


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to the four-byte boundary the kernel expects."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds other attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attribute_string(kind: int, text: str) -> bytes:
    """Return a NUL-terminated string attribute."""
    return attribute(kind, text.encode() + b"\0")


def attribute_u8(kind: int, value: int) -> bytes:
    """Return a one-byte attribute."""
    return attribute(kind, struct.pack("=B", value))


def attribute_u32(kind: int, value: int) -> bytes:
    """Return a 32-bit attribute in the machine's byte order (rtnetlink)."""
    return attribute(kind, struct.pack("=I", value))


def attribute_be32(kind: int, value: int) -> bytes:
    """Return a 32-bit attribute in network byte order (nfnetlink)."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def iter_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield ``(type, payload)`` of each attribute in ``data``, flag bits removed.

    Raises:
        ValueError: A length runs past the end or is shorter than its header.
    """
    offset = 0
    end = len(data)
    while end - offset >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            raise ValueError(f"netlink attribute at byte {offset} has bad length {length}")
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in ``data`` by type; of a repeated type the last one counts."""
    return dict(iter_attributes(data))


def attribute_text(payload: bytes) -> str:
    """Return a string attribute's text without its terminator."""
    return payload.partition(b"\0")[0].decode("utf-8", "replace")


def build_message(request: Request, sequence: int, *, flags: int = 0) -> bytes:
    """Return ``request`` as the bytes to send.

    Args:
        request: What to send.
        sequence: The number its answers carry.
        flags: Flags to add to the request's own.
    """
    length = _HEADER.size + len(request.body)
    header = _HEADER.pack(length, request.type, request.flags | flags | NLM_F_REQUEST, sequence, 0)
    return header + request.body + b"\0" * (-length & 3)


def parse_messages(data: bytes) -> Iterator[Message]:
    """Yield the messages in one received datagram.

    Raises:
        ValueError: A length runs past the end or is shorter than its header.
    """
    offset = 0
    end = len(data)
    while end - offset >= _HEADER.size:
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > end:
            raise ValueError(f"netlink message at byte {offset} has bad length {length}")
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def parse_error(message: Message) -> tuple[int, str]:
    """Return ``(errno, explanation)`` of an ``NLMSG_ERROR``; errno 0 is an acknowledgement."""
    (code,) = _ERROR.unpack_from(message.body)
    detail = ""
    if message.flags & NLM_F_ACK_TLVS:
        (original_length,) = struct.unpack_from("=I", message.body, 4)
        skip = 4 + (_HEADER.size if message.flags & NLM_F_CAPPED else (original_length + 3) & ~3)
        text = parse_attributes(message.body[skip:]).get(_NLMSGERR_ATTR_MSG)
        detail = attribute_text(text).rstrip(".") if text is not None else ""
    return -code, detail


class NetlinkSocket:
    """A netlink socket; it stays in the network namespace it was opened in."""

    __slots__ = ("_borrowed", "_sequence", "_socket")

    def __init__(self, protocol: int, *, descriptor: int = -1) -> None:
        """Open a socket, or use ``descriptor`` without taking it over.

        Args:
            protocol: ``NETLINK_ROUTE`` or ``NETLINK_NETFILTER``.
            descriptor: An open netlink socket, perhaps of another network namespace. It is left
                open by `close`.
        """
        self._borrowed = descriptor >= 0
        if self._borrowed:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, protocol, fileno=descriptor
            )
        else:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
            )
        # Kernels before 4.12 lack these two; the errors then lack the explanation.
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                break
        timeout = struct.pack("@ll", _ANSWER_TIMEOUT_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        # A shared socket may hold answers to someone else's requests; start somewhere unlikely.
        self._sequence = int.from_bytes(os.urandom(3), "big") << 4

    def __enter__(self) -> Self:
        """Return the socket; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket; a borrowed descriptor stays open."""
        if self._borrowed:
            self._socket.detach()
        else:
            self._socket.close()

    def batch(self, requests: Sequence[Request]) -> None:
        """Send ``requests`` with one system call and return when the kernel has done them all.

        The kernel carries on after a request that fails; the first failure is raised.

        Raises:
            NetlinkError: The kernel refused a request.
        """
        if requests:
            # Failures are always reported; only the last success needs an acknowledgement.
            last = len(requests) - 1
            self._collect(requests, self._send(requests, ack=last), last=last, framed=False)

    def transact(self, begin: Request, requests: Sequence[Request], end: Request) -> None:
        """Send a batch of which the kernel does all or nothing (nfnetlink).

        Raises:
            NetlinkError: The kernel refused a request; nothing has changed.
        """
        if requests:
            everything = [begin, *requests, end]
            # Not the end marker: it is acknowledged only since Linux 6.10.
            last = len(requests)
            self._collect(everything, self._send(everything, ack=last), last=last, framed=True)

    def query(self, request: Request) -> list[Message]:
        """Return the messages that answer one request, a dump or a single object.

        Raises:
            NetlinkError: The kernel refused the request.
        """
        # Any bit of NLM_F_DUMP alone means something else, so compare the whole.
        dump = request.flags & NLM_F_DUMP == NLM_F_DUMP
        for _ in range(_DUMP_ATTEMPTS):
            first = self._send([request], ack=-1 if dump else 0)
            answers, interrupted = self._answers(request, first)
            if not interrupted:
                return answers
        raise NetlinkError(errno.EINTR, request.what, "the table keeps changing")

    def _send(self, requests: Sequence[Request], *, ack: int) -> int:
        """Send the requests, the one at index ``ack`` with an acknowledgement asked for.

        Returns:
            The sequence number of the first; the others follow.
        """
        if self._sequence + len(requests) >= _SEQUENCE_END:
            self._sequence = 1
        first = self._sequence
        self._sequence += len(requests)
        payload = b"".join(
            build_message(request, first + index, flags=NLM_F_ACK if index == ack else 0)
            for index, request in enumerate(requests)
        )
        try:
            self._socket.send(payload)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(payload) + 65536)
            self._socket.send(payload)
        return first

    def _collect(self, requests: Sequence[Request], first: int, *, last: int, framed: bool) -> None:
        """Read until request ``last`` is answered; raise the first failure seen on the way."""
        failure: NetlinkError | None = None
        while True:
            for message in self._receive(requests[0].what):
                index = message.sequence - first
                if message.type != NLMSG_ERROR or not 0 <= index < len(requests):
                    continue
                code, detail = parse_error(message)
                if code and framed and index == 0:
                    # The whole batch is refused; the kernel says so against its first message.
                    raise failure or NetlinkError(code, requests[0].what, detail)
                if code and failure is None:
                    failure = NetlinkError(code, requests[index].what, detail)
                if index == last:
                    if failure is not None:
                        raise failure
                    return

    def _answers(self, request: Request, number: int) -> tuple[list[Message], bool]:
        """Read the answer to one query; the flag says that a dump was interrupted."""
        answers: list[Message] = []
        interrupted = False
        while True:
            for message in self._receive(request.what):
                if message.sequence != number:
                    continue
                interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
                if message.type == NLMSG_DONE:
                    return answers, interrupted
                if message.type == NLMSG_ERROR:
                    code, detail = parse_error(message)
                    if code:
                        raise NetlinkError(code, request.what, detail)
                    return answers, interrupted
                answers.append(message)

    def _receive(self, what: str) -> list[Message]:
        try:
            return list(parse_messages(self._socket.recv(_RECEIVE_BYTES)))
        except BlockingIOError:
            raise NetlinkError(errno.ETIMEDOUT, what, "no answer from the kernel") from None
