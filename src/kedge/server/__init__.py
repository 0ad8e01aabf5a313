"""The HTTP server and its routers; they see the engine only through Protocols of their own."""
