"""The spawner: a warm interpreter that keeps one shim ready and forks the next when it is taken.

The engine starts it once with a packet socket as descriptor 3 (`kedge.shim.spawner_client`). Each
packet carries one descriptor, the shim's control connection. The shim that waits takes it, reads
from the connection what to make, and the spawner, which is told by one byte, forks another. What a
shim needs whatever it is to make, a session, a network namespace, memory pages of its own, it has
by then. The spawner keeps no state; an engine that finds it dead starts another. When the engine
goes, it goes, and the shim that waits; those that have a container stay.
"""

import gc
import json
import os
import signal
import sys
from contextlib import suppress
from select import select
from socket import SHUT_RDWR, socket, socketpair
from typing import Final, NamedTuple

from kedge.errdefs import SystemFailureError, UnavailableError
from kedge.linux import malloc, prctl, process
from kedge.oci import fields
from kedge.shim import rootview
from kedge.shim.control import fetch_request
from kedge.shim.framing import close_all, encode_frame, receive_fds
from kedge.shim.holder import SHIM_NAME, Holder, HolderLine, Rest, name_process
from kedge.shim.luggage import unpack
from kedge.shim.messages import (
    REPORT_NAME,
    CreateRequest,
    encode_create,
    encode_failure,
    one_line,
    parse_create,
    part,
)
from kedge.shim.monitor import Monitor
from kedge.shim.netns import ReadyNetns
from kedge.shim.reactor import Reactor
from kedge.shim.task import MakeTask, Prepare, ResumeTask, Task

ENGINE_FD: Final = 3
# A signal meant for the engine's terminal or service must end neither spawner nor containers.
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
_MAX_DEATHS: Final = 5
_PACKET_SIZE: Final = 16
_PAUSE_S: Final = 0.05
_SPARE_NAME: Final = b"kedge-spare"
# What a shim tells the spawner.
_TAKEN: Final = b"t"
_ENGINE_GONE: Final = b"e"
_BROKEN: Final = 70
# A chunk of output and the log entries it becomes; shims inherit this.
_LARGEST_BUFFER: Final = 4 * 1024 * 1024
_SPARE_MEMORY: Final = 1024 * 1024
_NOTHING: Final = CreateRequest(id="", bundle="", run_dir="", cgroup_path="")


class Kind(NamedTuple):
    """How containers are made and gone on with."""

    prepare: Prepare
    resume: ResumeTask


def main(prepare: Prepare | None = None) -> None:
    """Serve the engine at descriptor 3 until it is gone."""
    rehearse = _nothing
    if prepare is None:
        # Tests put another task in its place, and then need not be able to import the runtime.
        from kedge.shim import runtime_task  # noqa: PLC0415

        kind, rehearse = Kind(runtime_task.prepare, runtime_task.resume), runtime_task.rehearse
    else:
        kind = Kind(prepare, _never_resumed)
    os.setsid()
    prctl.set_name("kedge-spawner")
    # Ignoring it makes the kernel reap the shims; each shim sets it back for its own children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    process.close_from(ENGINE_FD + 1)
    engine = socket(fileno=ENGINE_FD)
    malloc.keep_buffers(largest_bytes=_LARGEST_BUFFER, spare_bytes=_SPARE_MEMORY)
    rehearse()
    # What lives now is never written to by the collector again, so shims share its memory.
    gc.collect()
    malloc.trim()
    gc.freeze()
    deaths = 0
    while deaths < _MAX_DEATHS:
        word = _fork_shim(engine, kind)
        if word == _ENGINE_GONE:
            return
        deaths = 0 if word == _TAKEN else deaths + 1
        # Getting the next one ready takes processor time the container just begun needs more;
        # unless somebody waits.
        select([engine], [], [], _PAUSE_S)
    raise SystemExit(f"{deaths} shims in a row died before they had anything to do")


def _fork_shim(engine: socket, kind: Kind) -> bytes:
    """Fork a shim that waits for work; return the word it leaves, which is empty if it dies."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()  # noqa: TID251 - forking is what this process is for
    except OSError as error:
        os.close(told)
        os.close(tell)
        return _refuse_one(engine, error)
    if pid == 0:
        code = _BROKEN
        try:
            code = _be_shim(engine, told, tell, kind)
        finally:
            os._exit(code)
    os.close(tell)
    try:
        return os.read(told, 1)
    finally:
        os.close(told)


def _refuse_one(engine: socket, error: OSError) -> bytes:
    """Tell whoever comes next that there is no process to be had."""
    control_fd = _take(engine)
    if control_fd < 0:
        return _ENGINE_GONE
    failure = UnavailableError(f"cannot fork a shim: {one_line(error)}")
    os.write(control_fd, encode_frame({"event": "create_failed", "error": encode_failure(failure)}))
    os.close(control_fd)
    return _TAKEN


def _be_shim(engine: socket, told: int, tell: int, kind: Kind) -> int:
    """Be the parent of a container to come; return the exit code of this process."""
    os.close(told)
    os.setsid()
    name_process(_SPARE_NAME)
    prctl.set_child_subreaper()
    holder = Holder(
        lambda line: _begin(engine, tell, kind, line),
        lambda line, rest: _go_on(kind, line, rest),
    )
    return holder.run((engine.fileno(), tell))


def _begin(engine: socket, tell: int, kind: Kind, holder: HolderLine) -> int:
    """Wait for a container to make, and look after it; return the exit code of the shim."""
    ahead = not _is_work_waiting(engine)
    netns = ReadyNetns() if ahead else None
    make_task = kind.prepare(holder, ahead=ahead)
    if ahead:
        _rehearse()
    control_fd = _take(engine)
    # The spawner may have died meanwhile; the work is here all the same.
    with suppress(BrokenPipeError):
        os.write(tell, _TAKEN if control_fd >= 0 else _ENGINE_GONE)
    os.close(tell)
    engine.close()
    name_process(SHIM_NAME)
    if control_fd < 0:
        return 0
    holder.say_taken()
    return _look_after(socket(fileno=control_fd), netns, make_task, holder)


def _rehearse() -> None:
    """Read a request nobody made: the pages this copies are copied before somebody waits."""
    ours, theirs = socketpair()
    with ours, theirs:
        theirs.sendall(encode_frame(encode_create(_NOTHING)))
        document = fetch_request(ours)
        if document is not None:
            parse_create(document)


def _is_work_waiting(engine: socket) -> bool:
    ready, _, _ = select([engine], [], [], 0)
    return bool(ready)


def _take(engine: socket) -> int:
    """Return the next control connection, -1 when the engine is gone."""
    data, fds = receive_fds(engine, _PACKET_SIZE)
    close_all(fds[1:])
    return fds[0] if data and fds else -1


def _look_after(
    creator: socket, netns: ReadyNetns | None, make_task: MakeTask, holder: HolderLine
) -> int:
    document = fetch_request(creator)
    if document is None:
        return 0
    if rootview.is_view_request(document):
        return rootview.show(creator, document)
    request = parse_create(document)
    monitor = Monitor(Reactor(), request, holder)
    try:
        monitor.run(creator, make_task, netns)
    except BaseException as error:  # noqa: BLE001 - the last one who can say what happened
        _report(os.path.join(request.run_dir, REPORT_NAME), error)
        creator.shutdown(SHUT_RDWR)
        return _BROKEN
    return 0


def _go_on(kind: Kind, holder: HolderLine, rest: Rest) -> int:
    """Look after a container for another worker; return the exit code of the shim."""
    packed = fields.read_object(json.loads(rest.state), "rest")
    request = parse_create(part(packed, "request"))
    names = fields.read_list(packed, "fds", "rest", fields.read_string_item)
    try:
        fds = unpack(names, rest.fds)
        Monitor(Reactor(), request, holder).resume(kind.resume, packed, fds)
    except BaseException as error:  # noqa: BLE001 - as above
        _report(os.path.join(request.run_dir, REPORT_NAME), error)
        return _BROKEN
    return 0


def _never_resumed(request: CreateRequest, *_rest: object) -> Task:
    raise SystemFailureError(f"container {request.id} is of a kind that does not rest")


def _nothing() -> None:
    pass


def _report(path: str, error: BaseException) -> None:
    """Leave the traceback of a shim that breaks where the engine finds it."""
    import traceback  # noqa: PLC0415 - needed once in a shim's life, if ever

    with open(path, "a", encoding="utf-8") as report:
        traceback.print_exception(error, file=report)
    sys.stderr.flush()
