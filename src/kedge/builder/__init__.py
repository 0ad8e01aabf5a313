"""Dockerfile front end, build graph, cache and executor."""
