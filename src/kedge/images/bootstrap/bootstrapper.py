"""`Bootstrapper`: an image of the store out of a recipe and a package mirror.

Order: index verified, packages chosen, fetched, unpacked into a new layer, set up in a container,
cleaned, committed, recorded. Until the last two nothing but the download cache has changed. The
same packages give the same image: times are cut at the date of the release, and what depends on
the moment or the machine is removed.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from kedge.archive.entry import Entry
from kedge.images.bootstrap import rootfs
from kedge.images.bootstrap.archive import (
    Archive,
    debian_architecture,
    open_archive,
    package_file,
)
from kedge.images.bootstrap.configure import Container
from kedge.images.bootstrap.control import Package
from kedge.images.bootstrap.deb import merge_usr, open_data
from kedge.images.bootstrap.download import BootstrapCancelledError, Downloads
from kedge.images.bootstrap.mirrors import find_mirrors
from kedge.images.bootstrap.openpgp import archive_keys
from kedge.images.bootstrap.ports import BootstrapEvent, Fetcher, Listener, StepRunner
from kedge.images.bootstrap.recipes import Recipe, find_recipe
from kedge.images.bootstrap.solver import ChosenPackages, solve
from kedge.images.image import Image, NewLayer
from kedge.images.layering import Layering, OpenLayer, clamp_times
from kedge.images.store import ImageStore
from kedge.lib.clock import Clock
from kedge.lib.units import format_size
from kedge.oci.image_spec import ContainerConfig, History, ImageConfig, RootFS
from kedge.oci.platforms import host_platform
from kedge.snapshots.snapshotter import Snapshotter

# No file system is ever made in a container.
_WITHOUT: Final = frozenset({"e2fsprogs"})
# Named so that they are taken where a dependency offers a choice.
_PREFERRED: Final = ("apt", "usr-is-merged")
_REPORT_BYTES: Final = 1 << 20


class _Plan(NamedTuple):
    """What goes into an image."""

    recipe: Recipe
    archive: Archive
    packages: list[Package]
    architecture: str
    epoch_s: int

    @property
    def size_bytes(self) -> int:
        return sum(package.size_bytes for package in self.packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapPlaces:
    """Directories of one engine, on one file system."""

    cache: str
    """Downloads; survives restarts."""
    scratch: str
    """Emptied at every start."""


class Bootstrapper:
    """Makes images for one engine; thread-safe."""

    def __init__(
        self,
        images: ImageStore,
        snapshots: Snapshotter,
        fetcher: Fetcher,
        runner: StepRunner,
        *,
        places: BootstrapPlaces,
        clock: Clock,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Record images in ``images``; read the choice of mirrors from ``environ``."""
        self._images = images
        self._snapshots = snapshots
        self._fetcher = fetcher
        self._runner = runner
        self._places = places
        self._clock = clock
        self._environ = environ
        self._layering = Layering(snapshots, images.content, clock)

    def make(self, name: str, listener: Listener, cancel: threading.Event) -> Image:
        """Make the image ``name`` and tag it so, in place of what had the name.

        Raises:
            InvalidParameterError: There is no recipe of that name.
            NotFoundError: The mirror lacks a suite or a package.
            UnavailableError: A mirror cannot be reached, or ``cancel`` was set.
            DataLossError: A signature or a digest is wrong.
            SystemFailureError: The host refuses, or a package's script fails.
        """
        recipe, reference = find_recipe(name)
        downloads = Downloads(
            self._places.cache, self._fetcher, cancel, scratch=self._places.scratch
        )
        plan = self._plan(recipe, downloads, listener)
        files = _fetch(plan.packages, downloads, listener)
        with self._images.lease() as lease, self._layering.open("") as layer:
            self._fill(plan, layer, files, listener, cancel)
            listener(BootstrapEvent("Committing"))
            epoch_ns = plan.epoch_s * 1_000_000_000
            written = self._layering.commit(layer, lease, epoch_ns).record
            image = self._images.create_image(
                _image_config(plan, written.diff_id),
                [NewLayer(written.diff_id, written.blob)],
                names=(reference,),
            )
        self._snapshots.sync()
        downloads.trim()
        count = len(plan.packages)
        listener(
            BootstrapEvent(
                f"Status: Made {reference.familiar()} from Debian {plan.archive.release.version}"
                f" ({count} package{'s' if count != 1 else ''},"
                f" {format_size(image.size_bytes)})"
            )
        )
        return image

    def _plan(self, recipe: Recipe, downloads: Downloads, listener: Listener) -> _Plan:
        platform = host_platform()
        architecture = debian_architecture(platform.architecture, platform.variant)
        mirrors = find_mirrors(self._environ)
        listener(BootstrapEvent(f"Fetching package index of {recipe.codename} from {mirrors.main}"))
        archive = open_archive(
            recipe.codename,
            mirrors=mirrors,
            architecture=architecture,
            downloads=downloads,
            certs=archive_keys(),
            clock=self._clock,
        )
        if recipe.has_base:
            base = archive.packages.base_packages()
            base += [name for name in _PREFERRED if archive.packages.find(name)]
            packages = solve(archive.packages, (*base, *recipe.packages), without=_WITHOUT)
        else:
            packages = [
                package
                for package in solve(archive.packages, recipe.packages)
                if package.name in recipe.packages
            ]
        epoch_s = int(archive.release.date.timestamp())
        return _Plan(recipe, archive, packages, architecture, epoch_s)

    def _fill(
        self,
        plan: _Plan,
        layer: OpenLayer,
        files: Mapping[str, str],
        listener: Listener,
        cancel: threading.Event,
    ) -> None:
        recipe = plan.recipe
        listener(BootstrapEvent("Unpacking"))
        if recipe.has_base:
            rootfs.make_base_directories(layer.upper, plan.architecture)
            rootfs.write_files(layer.upper, rootfs.base_files(recipe.codename, recipe.excludes))
            essential = [p.name for p in plan.packages if p.is_essential]
            unpacked = solve(ChosenPackages(plan.packages), essential)
        else:
            rootfs.make_plain_directories(layer.upper)
            unpacked = plan.packages
        rootfs.write_files(layer.upper, recipe.files)
        for package in unpacked:
            if cancel.is_set():
                raise BootstrapCancelledError("bootstrap cancelled")
            self._unpack(package, files[package.name], layer, recipe)
        container = Container(
            self._runner,
            layer,
            cancel,
            path=recipe.config.env[0],
            epoch_s=plan.epoch_s,
        )
        listener(BootstrapEvent("Configuring"))
        if recipe.has_base:
            with _named_links(plan.packages, files, self._places.scratch) as folder:
                container.install(folder)
        for command in recipe.commands:
            container.run(command, what=f"{command[0]} of the recipe")
        rootfs.remove_passing(layer.upper)
        epoch_ns = plan.epoch_s * 1_000_000_000
        clamp_times(layer, epoch_ns)
        os.utime(layer.upper, ns=(epoch_ns, epoch_ns))

    def _unpack(self, package: Package, path: str, layer: OpenLayer, recipe: Recipe) -> None:
        def change(entry: Entry) -> Entry | None:
            moved = merge_usr(entry) if recipe.has_base else entry
            if moved is None or rootfs.is_excluded(_plain(moved.name), recipe.excludes):
                return None
            return moved

        with open_data(path, name=package.file_name) as data:
            self._snapshots.extract(layer.key, data, change=change)


def _plain(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _fetch(packages: Sequence[Package], downloads: Downloads, listener: Listener) -> dict[str, str]:
    """Return the path of each package's file by the package's name."""
    total = sum(package.size_bytes for package in packages)
    count = len(packages)
    status = f"Downloading {count} package{'s' if count != 1 else ''}"
    lock = threading.Lock()
    current = reported = 0

    def count_bytes(more: int) -> None:
        nonlocal current, reported
        with lock:
            current += more
            if current - reported >= _REPORT_BYTES:
                reported = current
                listener(BootstrapEvent(status, "packages", current, total))

    listener(BootstrapEvent(status, "packages", 0, total))
    paths = downloads.fetch_all([package_file(package) for package in packages], count_bytes)
    listener(BootstrapEvent(status, "packages", total, total))
    return {package.name: path for package, path in zip(packages, paths, strict=True)}


@contextmanager
def _named_links(
    packages: Sequence[Package], files: Mapping[str, str], scratch: str
) -> Generator[str, None, None]:
    """Enclose the use of a directory with the packages under the names dpkg's messages show."""
    folder = tempfile.mkdtemp(prefix="packages-", dir=scratch)
    try:
        os.chmod(folder, 0o755)  # noqa: S103 - apt's and dpkg's own users read it, too
        for package in packages:
            os.link(files[package.name], os.path.join(folder, package.file_name))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _image_config(plan: _Plan, diff_id: str) -> ImageConfig:
    recipe, release = plan.recipe, plan.archive.release
    platform = host_platform()
    created = release.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    return ImageConfig(
        created=created,
        architecture=platform.architecture,
        variant=platform.variant,
        os=platform.os,
        config=_container_config(plan, created),
        rootfs=RootFS(diff_ids=[diff_id]),
        history=[
            History(
                created=created,
                created_by=f"kedge image bootstrap {recipe.names[0]}"
                f" # Debian {release.version} {release.codename} {plan.architecture}:"
                f" {len(plan.packages)} packages",
                comment="made from packages",
            )
        ],
    )


def _container_config(plan: _Plan, created: str) -> ContainerConfig:
    recipe, release = plan.recipe, plan.archive.release
    version = release.version
    env = list(recipe.config.env)
    if recipe.version_of is not None:
        variable, package = recipe.version_of
        version = next(_upstream(p.version) for p in plan.packages if p.name == package)
        env.append(f"{variable}={version}")
    labels = {
        "org.opencontainers.image.title": recipe.title,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.base.name": f"debian {release.codename}",
        "org.opencontainers.image.description": "made by kedge image bootstrap from packages"
        f" of Debian {release.version}",
        "org.opencontainers.image.url": "https://www.debian.org/",
    }
    config = recipe.config
    return ContainerConfig(
        env=env,
        cmd=config.cmd,
        entrypoint=config.entrypoint,
        exposed_ports=config.exposed_ports,
        volumes=config.volumes,
        working_dir=config.working_dir,
        labels=labels,
    )


def _upstream(version: str) -> str:
    """Return a package's version without Debian's epoch and revision."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]
