import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errdefs import SystemFailureError
from kedge.lib.jsontypes import JsonObject
from kedge.shim.framing import MAX_MESSAGE, FrameReader, FrameWriter, encode_frame, receive

BODIES = st.lists(st.dictionaries(st.text(max_size=2), st.text(max_size=20)), max_size=5)


@given(BODIES, st.lists(st.integers(1, 30)))
def test_messages_survive_any_chopping(bodies: list[JsonObject], sizes: list[int]) -> None:
    data = b"".join(encode_frame(body) for body in bodies)
    reader = FrameReader()
    seen: list[JsonObject] = []
    position = 0
    for size in [*sizes, len(data)]:
        reader.feed(data[position : position + size], [])
        position += size
        while (message := reader.try_next()) is not None:
            seen.append(message.body)
    assert seen == bodies


def test_descriptors_stay_with_their_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pipes = [os.pipe() for _ in range(2)]
        writer = FrameWriter()
        writer.add({"number": 0})
        for number, (read_end, write_end) in enumerate(pipes, 1):
            writer.add({"number": number}, (read_end,))
            writer.add({"number": -number})
            os.write(write_end, b"%d" % number)
            os.close(write_end)
        assert writer.flush(ours)
        ours.close()
        reader = FrameReader()
        while receive(theirs, reader):
            pass
        for expected in (0, 1, -1, 2, -2):
            message = reader.try_next()
            assert message is not None
            assert message.body["number"] == expected
            assert len(message.fds) == (expected > 0)
            for fd in message.fds:
                assert os.read(fd, 9) == b"%d" % expected
                assert not os.get_inheritable(fd)
                os.close(fd)


def test_a_message_larger_than_the_socket_waits_for_the_reader() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        body: JsonObject = {"text": "x" * 2_000_000}
        writer = FrameWriter()
        writer.add(body)
        reader = FrameReader()
        while not writer.flush(ours):
            receive(theirs, reader)
        ours.close()
        while receive(theirs, reader):
            pass
        message = reader.try_next()
        assert message is not None
        assert message.body == body


@pytest.mark.parametrize(
    "data",
    [
        (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"\0\0\0\1x",
        b"\0\0\0\2[]",
        b'\0\0\0\x09{"fds":1}',
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data, [])
    with pytest.raises(SystemFailureError):
        reader.try_next()
