"""Base images made from a distribution's package mirror, without any registry."""
