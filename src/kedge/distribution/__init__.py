"""Registries as a client: authentication, resolution, pull."""
