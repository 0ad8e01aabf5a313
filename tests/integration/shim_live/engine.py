"""An engine to be killed: creates and starts the container of ``request.json``, then waits."""

import asyncio
import json
import sys
from pathlib import Path

from kedge.shim.messages import parse_create
from kedge.shim.spawner_client import Spawner


async def serve(root: Path) -> None:
    """Start the container, say so, and wait to be killed."""
    spawner = Spawner(run_dir=str(root))
    request = parse_create(json.loads((root / "request.json").read_text()))
    shim = await spawner.create(request)
    await shim.wait_created()
    await shim.start()
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
