"""Where the engine keeps things below its two roots.

``data_root`` survives reboots; ``exec_root`` holds sockets and bundles and belongs on a tmpfs.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePaths:
    """The two roots of one engine; any number of engines with different roots live side by side."""

    data_root: str
    exec_root: str

    @property
    def database(self) -> str:
        """The metadata store."""
        return os.path.join(self.data_root, "metadata.db")

    @property
    def content(self) -> str:
        """Blobs by digest."""
        return os.path.join(self.data_root, "content")

    @property
    def snapshots(self) -> str:
        """Layer directories."""
        return os.path.join(self.data_root, "snapshots")

    @property
    def volumes(self) -> str:
        """One folder for each volume."""
        return os.path.join(self.data_root, "volumes")

    @property
    def volume_mounts(self) -> str:
        """File systems of volumes in use that the host has to mount."""
        return os.path.join(self.exec_root, "volumes")

    @property
    def scratch(self) -> str:
        """Build contexts and other files of one request; emptied at start."""
        return os.path.join(self.data_root, "tmp")

    @property
    def build_caches(self) -> str:
        """One folder for each cache mount of builds."""
        return os.path.join(self.data_root, "build-caches")

    @property
    def build_contexts(self) -> str:
        """Folders of BuildKit's clients, kept so that a later build transfers what changed."""
        return os.path.join(self.data_root, "build-contexts")

    @property
    def build_secrets(self) -> str:
        """Secrets of RUN steps while they run; emptied at start."""
        return os.path.join(self.exec_root, "build-secrets")

    @property
    def shims(self) -> str:
        """One folder of bundle, socket and exit status per started container."""
        return os.path.join(self.exec_root, "shims")

    def container_dir(self, container_id: str) -> str:
        """Log, hosts, hostname and resolv.conf of one container."""
        return os.path.join(self.data_root, "containers", container_id)

    def shim_dir(self, container_id: str) -> str:
        """The OCI bundle and the shim's socket of one container or build step."""
        return os.path.join(self.shims, container_id)

    def log_path(self, container_id: str) -> str:
        """The json-file log, at the place and with the name Docker gives it."""
        return os.path.join(self.container_dir(container_id), f"{container_id}-json.log")

    def local_log_path(self, container_id: str) -> str:
        """The log of the local driver, and what drivers that send lines elsewhere keep here."""
        return os.path.join(self.container_dir(container_id), "local.log")

    def ensure(self) -> None:
        """Create the folders that must exist before anything else; only root may enter them."""
        for path, mode in (
            (self.data_root, 0o710),
            (self.exec_root, 0o711),
            (os.path.join(self.data_root, "containers"), 0o710),
            (self.scratch, 0o700),
            (self.shims, 0o711),
        ):
            os.makedirs(path, mode=mode, exist_ok=True)
