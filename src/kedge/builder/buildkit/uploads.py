"""A context or Dockerfile the client got on its standard input, pulled from its session."""

from typing import BinaryIO, Final
from urllib.parse import urlsplit

from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from kedge.builder.buildkit.messages import BYTES
from kedge.builder.buildkit.rpc import stream_call
from kedge.builder.buildkit.session import Session
from kedge.builder.buildkit.wire import blob
from kedge.errdefs import UnavailableError

_PATH: Final = "/moby.upload.v1.Upload/Pull"


async def receive_upload(session: Session, url: str, file: BinaryIO) -> None:
    """Write what the client offers at ``url`` to ``file``.

    Raises:
        UnavailableError: The client has gone, or does not offer that.
    """
    method = stream_call(session.channel, _PATH, BYTES, BYTES)
    try:
        async with method.open(metadata=[("urlpath", urlsplit(url).path)]) as stream:
            await stream.send_request()
            await stream.end()
            while (piece := await stream.recv_message()) is not None:
                file.write(blob(piece, "data"))
    except GRPCError as error:
        raise UnavailableError(f"the client failed to send the context: {error.message}") from error
    except (StreamTerminatedError, ProtocolError, ConnectionError) as error:
        raise UnavailableError("the client went away while it sent the context") from error
