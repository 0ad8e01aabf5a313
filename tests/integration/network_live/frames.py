"""Ethernet frames as a hostile container makes them, and what a neighbour gets of them."""

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Mapping

from tests.integration.network_live.lab import TIMEOUT_S, Namespace

BROADCAST = "ff:ff:ff:ff:ff:ff"
IP4, ARP, VLAN, IP6 = 0x0800, 0x0806, 0x8100, 0x86DD
_ALL_PROTOCOLS = 0x0003
_EXPERIMENTAL = 253
_ICMPV6 = 58


def ethernet(source: str, kind: int, payload: bytes, *, tags: int = 0) -> bytes:
    """A broadcast frame, with VLAN tags of number zero before the payload's type."""
    tag = struct.pack("!HH", VLAN, 0) * tags
    return _mac(BROADCAST) + _mac(source) + tag + struct.pack("!H", kind) + payload


def arp(sender_mac: str, sender: str, target: str) -> bytes:
    """An answer nobody asked for."""
    header = struct.pack("!HHBBH", 1, IP4, 6, 4, 2)
    return header + _mac(sender_mac) + _ip(sender) + _mac(BROADCAST) + _ip(target)


def ipv4(source: str, target: str, protocol: int = _EXPERIMENTAL, body: bytes = b"") -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, _ip(source), _ip(target)
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def ipv6(source: str, target: str, protocol: int = _EXPERIMENTAL, body: bytes = b"") -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 255)
    return head + _ip(source) + _ip(target) + body


def icmpv6(source: str, kind: int, subject: str) -> bytes:
    """A neighbour discovery message to all nodes, about ``subject``."""
    body = struct.pack("!BBHI", kind, 0, 0, 0x20000000) + _ip(subject)
    target = "ff02::1"
    pseudo = _ip(source) + _ip(target) + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return ipv6(source, target, _ICMPV6, body)


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def delivered(sender: Namespace, receiver: Namespace, frames: Mapping[str, bytes]) -> set[str]:
    """Return the names of the frames that get from one container to another.

    A last frame of an own type tells that all that pass have passed: frames of one processor keep
    their order.
    """
    end = ethernet("02:ff:00:00:00:01", 0x88B5, os.urandom(46))

    def send() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            for frame in [*frames.values(), end]:
                wire.send(frame)

    def listen() -> socket.socket:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        wire.bind(("eth0", _ALL_PROTOCOLS))
        wire.settimeout(TIMEOUT_S)
        return wire

    seen: list[bytes] = []
    with contextlib.closing(receiver.run(listen)) as wire:
        sender.run(send)
        while not seen or seen[-1] != end:
            seen.append(wire.recv(2048))
    # A first tag is not part of the data any more.
    plain = {name: frame[:12] + frame[16:] if _is_tagged(frame) else frame
             for name, frame in frames.items()}  # fmt: skip
    return {name for name, frame in plain.items() if frame in seen}


def _is_tagged(frame: bytes) -> bool:
    return frame[12:14] == struct.pack("!H", VLAN)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def sctp_init(source_port: int, target_port: int) -> bytes:
    """An SCTP packet with an INIT chunk (RFC 9260), which connection tracking accepts."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
    packet = struct.pack("!HHII", source_port, target_port, 0, 0) + chunk
    return packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF
