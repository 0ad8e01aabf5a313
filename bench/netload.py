"""A small network load: run with ``nsenter -n`` in the namespace it is for.

netload.py serve PORT               take connections; the first byte says what they are for
netload.py send ADDRESS PORT S N    send for S seconds, N times; print the best MB/s
netload.py turns ADDRESS PORT N     N questions and answers of one byte; print the median in us
netload.py dns NAME N               ask 127.0.0.11 N times, 32 at once; print the seconds
"""

import contextlib
import os
import socket
import statistics
import struct
import sys
import threading
import time

_BLOCK = bytes(1 << 17)
_WINDOW = 32
_TIMEOUT_S = 20


def serve(port: int) -> None:
    """Sink or echo, until killed."""
    server = socket.create_server(("", port))
    _say("ready")
    while True:
        peer, _ = server.accept()
        threading.Thread(target=_attend, args=(peer,), daemon=True).start()


def _attend(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if peer.recv(1) == b"s":
            buffer, total = bytearray(1 << 18), 0
            while count := peer.recv_into(buffer):
                total += count
            peer.sendall(struct.pack("!Q", total))
        else:
            while data := peer.recv(64):
                peer.sendall(data)


def send(address: str, port: int, seconds: float) -> float:
    """Return MB/s, as the other side counted them."""
    with socket.create_connection((address, port), timeout=_TIMEOUT_S) as peer:
        peer.sendall(b"s")
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            peer.sendall(_BLOCK)
        peer.shutdown(socket.SHUT_WR)
        (total,) = struct.unpack("!Q", peer.recv(8))
        return float(total) / (time.perf_counter() - begin) / 1e6


def turns(address: str, port: int, count: int) -> float:
    """Return the median microseconds of a question and its answer."""
    spent: list[float] = []
    with socket.create_connection((address, port), timeout=_TIMEOUT_S) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(b"p")
        for _ in range(count):
            begin = time.perf_counter()
            peer.sendall(b"?")
            peer.recv(1)
            spent.append(time.perf_counter() - begin)
    return statistics.median(spent) * 1e6


def dns(name: str, count: int) -> float:
    """Return the seconds in which so many questions were answered."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_TIMEOUT_S)
        asking.connect(("127.0.0.11", 53))
        begin = time.perf_counter()
        asked = answered = 0
        while answered < count:
            while asked < count and asked - answered < _WINDOW:
                asking.send(struct.pack("!HHHHHH", asked & 0xFFFF, 0x100, 1, 0, 0, 0) + question)
                asked += 1
            if struct.unpack_from("!H", asking.recv(512), 6)[0] == 0:
                sys.exit(f"netload: {name} has no address")
            answered += 1
        return time.perf_counter() - begin


def _say(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def main(words: list[str]) -> None:
    """Do what the words say and print the figure."""
    # Looked at is the way of a packet, not who else waits for a processor.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    match words:
        case ["serve", port]:
            serve(int(port))
        case ["send", address, port, seconds, count]:
            _say(max(send(address, int(port), float(seconds)) for _ in range(int(count))))
        case ["turns", address, port, count]:
            _say(turns(address, int(port), int(count)))
        case ["dns", name, count]:
            _say(dns(name, int(count)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
