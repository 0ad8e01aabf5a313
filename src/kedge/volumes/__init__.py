"""Volumes: folders that outlive containers, their records, and how each becomes a mount."""
