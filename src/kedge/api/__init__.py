"""Engine API wire types, version rules, and the one table from failure class to HTTP status."""
