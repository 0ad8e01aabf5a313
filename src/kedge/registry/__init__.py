"""An OCI registry: repositories, manifests, tags and blobs, and who may do what with them.

Vocabulary and rules follow the OCI distribution specification 1.1. The store here speaks no
HTTP: `kedge.server.registry` does, and `kedge.daemon.registryd` puts both together.
"""
