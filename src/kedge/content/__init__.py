"""Content-addressed blobs: ingest, verify, lease, garbage collection."""
