"""The spawner: a warm interpreter that forks one shim per request and does nothing else.

The engine starts it once with a packet socket as descriptor 3 (`kedge.shim.spawner_client`). Each
packet carries one descriptor, the shim's control connection, over which the shim itself reads
what to make. So the spawner parses nothing, answers nothing and waits for nobody; it keeps no
state, and an engine that finds it dead starts another. When the engine goes, it goes; the shims
stay.
"""

import gc
import os
import signal
import sys
from socket import SHUT_RDWR, socket
from typing import Final

from kedge.errdefs import UnavailableError
from kedge.linux import prctl, process
from kedge.linux.signals import reset_reserved_signals
from kedge.shim.control import fetch_request
from kedge.shim.framing import close_all, encode_frame, receive_fds
from kedge.shim.messages import REPORT_NAME, encode_failure, one_line, parse_create
from kedge.shim.monitor import Monitor
from kedge.shim.reactor import Reactor
from kedge.shim.task import MakeTask

ENGINE_FD: Final = 3
_FIRST_FREE_FD: Final = 3
# A signal meant for the engine's terminal or service must end neither spawner nor containers.
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
# Below everything in a container, above the host's own vital services.
_OOM_SCORE: Final = "-500"
_BROKEN: Final = 70


def main(make_task: MakeTask | None = None) -> None:
    """Serve the engine at descriptor 3 until it is gone."""
    make_task = make_task or _load_runtime()
    os.setsid()
    prctl.set_name("kedge-spawner")
    # Ignoring it makes the kernel reap the shims; each shim sets it back for its own children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    process.close_from(ENGINE_FD + 1)
    reset_reserved_signals()
    engine = socket(fileno=ENGINE_FD)
    # What lives now is never written to by the collector again, so shims share its memory.
    gc.collect()
    gc.freeze()
    while True:
        data, fds = receive_fds(engine, 16)
        if not data:
            return
        for fd in fds:
            _fork_shim(fd, make_task)
        close_all(fds)


def _load_runtime() -> MakeTask:
    """Import the container runtime, which is what makes this interpreter warm."""
    from kedge.shim import runtime_task  # noqa: PLC0415 - tests put another task in its place

    runtime_task.warm_up()
    return runtime_task.make_task


def _fork_shim(control_fd: int, make_task: MakeTask) -> None:
    try:
        pid = os.fork()  # noqa: TID251 - forking is what this process is for
    except OSError as error:
        failure = UnavailableError(f"cannot fork a shim: {one_line(error)}")
        frame = encode_frame({"event": "create_failed", "error": encode_failure(failure)})
        os.write(control_fd, frame)
        return
    if pid == 0:
        code = _BROKEN
        try:
            code = _run_shim(control_fd, make_task)
        finally:
            os._exit(code)


def _run_shim(control_fd: int, make_task: MakeTask) -> int:
    """Be a shim for one container; return the exit code of this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    process.close_from(_FIRST_FREE_FD, keep=(control_fd,))
    prctl.set_name("kedge-shim")
    prctl.set_child_subreaper()
    creator = socket(fileno=control_fd)
    document = fetch_request(creator)
    if document is None:
        return 0
    request = parse_create(document)
    try:
        Monitor(Reactor(), request, make_task).run(creator)
    except BaseException as error:  # noqa: BLE001 - the last one who can say what happened
        _report(os.path.join(request.run_dir, REPORT_NAME), error)
        creator.shutdown(SHUT_RDWR)
        return _BROKEN
    return 0


def _report(path: str, error: BaseException) -> None:
    """Leave the traceback of a shim that breaks where the engine finds it."""
    import traceback  # noqa: PLC0415 - needed once in a shim's life, if ever

    with open(path, "a", encoding="utf-8") as report:
        traceback.print_exception(error, file=report)
    sys.stderr.flush()


def protect_from_oom() -> None:
    """Make the kernel choose this process late when memory runs out, where it may be asked to.

    Children inherit the value, so it is set only after the container's init was forked.
    """
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write(_OOM_SCORE)
    except OSError:
        # Lowering needs CAP_SYS_RESOURCE.
        return
