"""What every volume driver must do, run over all of them through the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kedge.errdefs import KedgeError
from kedge.lib.clock import SYSTEM_CLOCK
from kedge.lib.database import Database
from kedge.volumes.driver import Location, VolumeDriver
from kedge.volumes.local import LocalDriver
from kedge.volumes.model import Volume
from kedge.volumes.store import VolumeStore


class FixedDriver:
    """A driver with one folder for all its volumes and no options."""

    name = "fixed"

    def check_options(self, volume: Volume) -> None:
        LocalDriver().check_options(volume)

    def locate(self, volume: Volume, folder: str) -> Location:
        return LocalDriver().locate(volume, folder)


@pytest.fixture(params=[LocalDriver, FixedDriver])
def driver(request: pytest.FixtureRequest) -> VolumeDriver:
    made: VolumeDriver = request.param()
    return made


@pytest.fixture
def store(tmp_path: Path, driver: VolumeDriver) -> Iterator[VolumeStore]:
    database = Database(str(tmp_path / "kedge.db"))
    yield VolumeStore(str(tmp_path / "volumes"), database, SYSTEM_CLOCK, drivers=[driver])
    database.close()


def test_a_plain_volume_is_its_own_folder(store: VolumeStore, driver: VolumeDriver) -> None:
    store.create("data", driver=driver.name)
    assert store.locate("data") == Location(path=store.mountpoint("data"), is_own=True)


def test_a_folder_of_the_host_is_not_the_volumes_own(
    store: VolumeStore, driver: VolumeDriver
) -> None:
    options = {"type": "none", "o": "bind,ro", "device": "/srv"}
    store.create("data", driver=driver.name, options=options)
    assert store.locate("data") == Location(path="/srv", options=("bind", "ro"))


def test_a_file_system_is_left_to_be_mounted(store: VolumeStore, driver: VolumeDriver) -> None:
    options = {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/export"}
    store.create("data", driver=driver.name, options=options)
    wanted = Location(fstype="nfs", source=":/export", options=("addr=10.0.0.1", "rw"))
    assert store.locate("data") == wanted


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"colour": "red"}, 'invalid option: "colour"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/x"}, 'missing required option: "type"'),
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"size": "1g"}, "quota size requested but no quota support"),
        ({"type": "none", "o": "bind", "device": "x"}, "must be an absolute path"),
    ],
)
def test_options_that_make_no_mount(
    store: VolumeStore, driver: VolumeDriver, options: dict[str, str], text: str
) -> None:
    with pytest.raises(KedgeError, match=text):
        store.create("data", driver=driver.name, options=options)
    assert store.all() == []


def test_options_survive(store: VolumeStore, driver: VolumeDriver) -> None:
    options = {"type": "tmpfs", "device": "tmpfs"}
    volume, _ = store.create("data", driver=driver.name, options=options, labels={"a": ""})
    assert (store.get("data").options, volume.labels) == (options, {"a": ""})
