"""The HTTP face of a registry: paths, headers, ranges and error bodies of distribution-spec 1.1."""
