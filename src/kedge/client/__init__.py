"""The synchronous Engine API client."""
