"""The metadata store at start: is it there, what does a repair leave unknown, and where is it kept.

After a repair nothing is deleted that the store does not know: what would be in the way of new
things goes to the folder of the repair, everything else stays where it is until that folder is
removed. Volumes need none of this: they describe themselves and are taken up from their folders.
"""

import glob
import os

from kedge.engine.paths import EnginePaths
from kedge.lib.clock import Clock
from kedge.lib.safestore import SafeStore, has_lost_found


def open_store(paths: EnginePaths, clock: Clock) -> SafeStore:
    """Open the metadata store, repaired if need be.

    Raises:
        DataLossError: It is lost or damaged and cannot be repaired; nothing was touched.
    """
    return SafeStore(paths.database, clock=clock, is_in_use=_is_in_use(paths))


def keep_trash(paths: EnginePaths, store: SafeStore) -> None:
    """After a repair, move layers nobody knows to its folder; called before anything is purged.

    They cannot stay: their numbers would be given out again.
    """
    if not store.lost_found:
        return
    for path in glob.glob(os.path.join(glob.escape(paths.snapshots), "*", "trash", "*")):
        target = os.path.join(store.lost_found, "snapshots")
        os.makedirs(target, mode=0o700, exist_ok=True)
        os.rename(path, os.path.join(target, os.path.basename(path)))


def may_remove_unknown(paths: EnginePaths) -> bool:
    """Whether what no record explains is a stray, and not something a repair could not explain."""
    return not has_lost_found(paths.data_root)


def _is_in_use(paths: EnginePaths) -> bool:
    patterns = (
        os.path.join(glob.escape(paths.data_root), "containers", "*"),
        os.path.join(glob.escape(paths.content), "blobs", "*", "*"),
        os.path.join(glob.escape(paths.snapshots), "*", "[0-9]*"),
    )
    return any(glob.glob(pattern) for pattern in patterns)
