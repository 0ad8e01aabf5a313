"""The spawner, the per-container monitor, and how the engine talks to them."""
