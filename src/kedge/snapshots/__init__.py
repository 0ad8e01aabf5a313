"""Snapshots: layers and container file systems as directories that turn into Mounts."""
