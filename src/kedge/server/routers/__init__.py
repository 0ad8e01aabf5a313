"""One module for each group of operations: from a request to a backend call and back."""
