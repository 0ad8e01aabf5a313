"""Ending a shim whose container nobody wants any more, in whatever state it is."""

import asyncio
import contextlib
import signal
from typing import Final

from kedge.errdefs import KedgeError
from kedge.shim.client import Shim

_GRACE_S: Final = 10.0


async def end_shim(shim: Shim) -> None:
    """Kill what runs, then let the shim remove what it has on the host and go.

    A shim that is gone already is fine; what it left has been removed by its client.
    """
    with contextlib.suppress(KedgeError, TimeoutError):
        await shim.kill(signal.SIGKILL, all=True)
        # It refuses to leave a container whose end it has not seen.
        async with asyncio.timeout(_GRACE_S):
            await shim.wait()
    with contextlib.suppress(KedgeError):
        await shim.shutdown()
