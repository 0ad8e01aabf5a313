"""The image store: manifests, configs, tags, unpacking, and bootstrap of base images."""
