"""Trees of files a build reads from, and the layer directory it writes to."""
