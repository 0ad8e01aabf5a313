"""OCI vocabulary: runtime-spec, image-spec, distribution-spec types, references, platforms."""
