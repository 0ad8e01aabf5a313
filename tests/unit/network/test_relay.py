import socket

from kedge.network.relay import CHUNKS_PER_EVENT, Direction


def test_the_end_is_passed_on_even_at_the_limit_of_one_turn() -> None:
    kind = socket.SOCK_SEQPACKET
    client, source = socket.socketpair(socket.AF_UNIX, kind)
    sink, server = socket.socketpair(socket.AF_UNIX, kind)
    with client, source, sink, server:
        for end in (source, sink, server):
            end.settimeout(0)
        for turns in range(CHUNKS_PER_EVENT // 2):
            client.send(b"%d" % turns)
        client.shutdown(socket.SHUT_WR)
        direction = Direction(source, sink)
        # One step for what is left, two for each packet: a turn ends in mid-packet.
        direction.buffer = memoryview(b"left")
        direction.pump()
        direction.pump()
        assert direction.is_ended
        received: list[bytes] = []
        while data := server.recv(100):
            received.append(data)
        assert received == [b"left", *(b"%d" % n for n in range(CHUNKS_PER_EVENT // 2))]


def test_nothing_is_read_while_the_sink_is_full() -> None:
    client, source = socket.socketpair()
    sink, server = socket.socketpair()
    with client, source, sink, server:
        for end in (client, source, sink):
            end.settimeout(0)
        direction = Direction(source, sink)
        try:
            while True:
                client.send(b"x" * 65536)
                for _ in range(8):
                    direction.pump()
        except BlockingIOError:
            assert direction.buffer
        assert not direction.is_ended
