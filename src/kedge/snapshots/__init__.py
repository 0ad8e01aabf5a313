"""Snapshotters: layer directories in, `Mount`s out."""
