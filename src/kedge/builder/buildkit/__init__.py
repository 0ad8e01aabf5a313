"""BuildKit's API in front of the builder: what buildx and Compose speak to an engine.

Two connections serve one build. On ``/grpc`` the client calls this engine (`service`); on
``/session`` the roles are reversed, and the engine asks the client for files, secrets, agents and
credentials, and sends results (`session`, `filesync`, `lending`, `sending`). A Dockerfile build
carries no low-level definition at all: the client names the frontend and its options, and the
engine fetches Dockerfile and context itself. Nothing here solves definitions of other frontends.
"""
