"""Measures kedge beside dockerd and podman; see `bench/run.py`."""
