"""Layer archives: apply, diff, whiteouts, path safety, compression."""
