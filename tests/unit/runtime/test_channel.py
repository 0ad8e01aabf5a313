import os

import pytest

from kedge.errdefs import ForbiddenError, NotFoundError, SystemFailureError
from kedge.runtime import channel
from kedge.runtime.channel import open_channel, parse_failure


def test_messages_and_descriptors_cross() -> None:
    ours, theirs = open_channel()
    reading, writing = os.pipe()
    theirs.send(channel.CREATED, b"body", [writing])
    os.close(writing)
    message = ours.receive()
    assert (message.kind, message.body) == (channel.CREATED, b"body")
    os.write(message.fds[0], b"x")
    assert os.read(reading, 1) == b"x"
    for fd in (reading, *message.fds):
        os.close(fd)
    ours.close()
    theirs.close()


def test_a_failure_is_raised_as_its_own_class() -> None:
    ours, theirs = open_channel()
    theirs.send_failure(NotFoundError("no such thing: x"))
    with pytest.raises(NotFoundError, match="no such thing: x"):
        ours.receive()
    theirs.send_failure(ZeroDivisionError())
    with pytest.raises(SystemFailureError, match="ZeroDivisionError"):
        ours.receive()
    ours.close()
    theirs.close()


def test_the_end_of_the_other_side_is_an_empty_message() -> None:
    ours, theirs = open_channel()
    theirs.close()
    assert ours.receive().kind == b""
    ours.close()


def test_only_failure_classes_are_made_from_a_name() -> None:
    assert isinstance(parse_failure(b"ForbiddenError\0no"), ForbiddenError)
    assert isinstance(parse_failure(b"__name__\0no"), SystemFailureError)
    assert isinstance(parse_failure(b"Exception\0no"), SystemFailureError)
