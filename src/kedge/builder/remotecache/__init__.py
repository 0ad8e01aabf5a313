"""Build cache outside the engine: read from and written to registries, folders and images."""
