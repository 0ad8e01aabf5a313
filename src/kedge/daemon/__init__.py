"""`kedged`: configuration and the composition root."""
