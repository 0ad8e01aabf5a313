"""What an image says of itself: where it comes from, and what is in it."""
