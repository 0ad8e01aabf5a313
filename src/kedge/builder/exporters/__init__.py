"""What becomes of a finished build: the store, a registry, files, archives."""
