"""Reading and following container logs."""
