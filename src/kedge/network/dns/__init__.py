"""The embedded name server: containers' names, and everything else by way of the host."""
