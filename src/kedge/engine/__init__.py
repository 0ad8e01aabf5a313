"""The use cases: containers, exec, attach, logs, stats, images, builds, restore."""
