"""How large volumes are: measured in a thread, remembered, measured again when it may have changed.

`docker system df` must answer at once however many files there are, so a caller says how long it
will wait and gets the last known size of what took longer; -1 when there is none yet.
"""

import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

UNKNOWN = -1


class UsageMeter:
    """Remembered sizes by volume; thread-safe."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._running: dict[str, Future[int]] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kedge-du")

    def close(self) -> None:
        """Stop measuring."""
        self._worker.shutdown(cancel_futures=True)

    def sizes(self, folders: Mapping[str, str], *, patience_s: float) -> dict[str, int]:
        """Return the size of each folder's content, of now or the last that is known.

        Args:
            folders: Path by name.
            patience_s: How long to wait for measurements of now.
        """
        with self._lock:
            for name, folder in folders.items():
                if name not in self._running:
                    self._running[name] = self._worker.submit(self._measure, name, folder)
            waited = [self._running[name] for name in folders if name in self._running]
        wait(waited, timeout=patience_s)
        with self._lock:
            return {name: self._sizes.get(name, UNKNOWN) for name in folders}

    def forget(self, name: str) -> None:
        """Forget a volume that is gone."""
        with self._lock:
            self._sizes.pop(name, None)

    def _measure(self, name: str, folder: str) -> int:
        try:
            size = directory_size(folder)
            with self._lock:
                self._sizes[name] = size
            return size
        finally:
            with self._lock:
                self._running.pop(name, None)


def directory_size(folder: str) -> int:
    """Return the bytes of all files below ``folder``, each inode once, as Docker counts them."""
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [folder]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # somebody deleted it meanwhile
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
        time.sleep(0)  # lets the engine's own thread run between directories
    return total
