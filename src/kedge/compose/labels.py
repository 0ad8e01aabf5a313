"""The labels by which Compose finds what belongs to a project, and the names it gives. Pure.

They are Docker Compose's own, letter for letter, so that each program sees the other's projects.
"""

from typing import Final

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
NUMBER: Final = "com.docker.compose.container-number"
ONEOFF: Final = "com.docker.compose.oneoff"
SLUG: Final = "com.docker.compose.slug"
VERSION: Final = "com.docker.compose.version"
WORKING_DIR: Final = "com.docker.compose.project.working_dir"
CONFIG_FILES: Final = "com.docker.compose.project.config_files"
ENVIRONMENT_FILE: Final = "com.docker.compose.project.environment_file"
CONFIG_HASH: Final = "com.docker.compose.config-hash"
IMAGE: Final = "com.docker.compose.image"
DEPENDS_ON: Final = "com.docker.compose.depends_on"
REPLACE: Final = "com.docker.compose.replace"
NETWORK: Final = "com.docker.compose.network"
VOLUME: Final = "com.docker.compose.volume"
HOOK: Final = "com.docker.compose.hook"
RESOURCE_HASH: Final = "org.kedge.compose.config-hash"
"""Hash of a network or volume. Docker Compose asks to recreate what carries a hash of its own name
that is not its own, so this one has another name."""
CONFIG_PARTS: Final = "org.kedge.compose.config-parts"
"""Short hashes of a service's attributes, by which kedge says which one changed."""


def container_name(project: str, service: str, number: int, separator: str = "-") -> str:
    """Return the name of a service's container."""
    return separator.join((project, service, str(number)))


def image_name(project: str, service: str, separator: str = "-") -> str:
    """Return the name of an image that is built and has none."""
    return f"{project}{separator}{service}"


def project_filter(project: str) -> list[str]:
    """Return the label filter for everything of a project."""
    return [f"{PROJECT}={project}"]
