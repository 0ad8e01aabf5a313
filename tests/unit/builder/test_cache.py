"""What the build cache remembers, and what it holds on to."""

import threading
from pathlib import Path

from kedge.builder.cache import BuildCache, CacheRecord
from kedge.content.leases import Lease, Leases
from kedge.lib.database import Database
from kedge.oci.image_spec import Descriptor

_BLOB = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "b" * 64, 3)
_RECORD = CacheRecord(
    key="k", step="RUN true", parent="", diff_id="sha256:" + "d" * 64,
    chain_id="sha256:" + "c" * 64, blob=_BLOB, size_bytes=9, created_ns=1, last_used_ns=2,
    inputs="{}",
)  # fmt: skip


def test_a_record_is_leased_where_nobody_waits_for_the_store(tmp_path: Path) -> None:
    """Who frees a blob asks the store while nothing can be leased: both orders would be a knot."""
    database = Database(str(tmp_path / "db"))
    leases = Leases()
    asked: list[bool] = []

    class WatchfulLease(Lease):
        def add(self, *names: str) -> None:
            asking = threading.Thread(target=lambda: database.query("SELECT 1"), daemon=True)
            asking.start()
            asking.join(10)
            asked.append(not asking.is_alive())
            super().add(*names)

    cache = BuildCache(database, lambda: WatchfulLease(leases))
    cache.put(_RECORD)
    assert asked == [True]
    assert cache.find("k") == _RECORD
    for name in (_RECORD.chain_id, _BLOB.digest):
        with leases.unless_held(name) as free:
            assert not free
    cache.forget("k", now_ns=5)
    assert cache.find("k") is None
    with leases.unless_held(_BLOB.digest) as free:
        assert free
    database.close()
