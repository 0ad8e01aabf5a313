"""Build checks, and what else a Dockerfile says about itself without being built."""
