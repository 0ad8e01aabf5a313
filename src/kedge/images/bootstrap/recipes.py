"""The images that can be made from packages, as data.

What an official image of the same name promises (programs on PATH, defaults, directories) holds;
what it has beyond that may be missing. `docs/howto/air-gapped.md` lists the differences.
"""

from dataclasses import dataclass
from typing import Final

from kedge.errdefs import InvalidParameterError
from kedge.oci.image_spec import ContainerConfig
from kedge.oci.references import Reference, parse_reference

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file or a link that the image has beside its packages."""

    path: str
    text: str = ""
    link: str = ""
    """Where a symbolic link leads; empty for a file."""
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make one image."""

    names: tuple[str, ...]
    """The name it is listed under, then others for the same image."""
    codename: str
    """Release of Debian."""
    title: str
    """For ``org.opencontainers.image.title``."""
    config: ContainerConfig
    packages: tuple[str, ...] = ()
    """Beside the base system, or alone where ``has_base`` is false."""
    has_base: bool = True
    """Whether there is a Debian with apt below."""
    files: tuple[File, ...] = ()
    """Written before packages are unpacked."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Run in the finished file system."""
    excludes: tuple[str, ...] = ()
    """Paths that dpkg never unpacks, now and later."""
    version_of: tuple[str, str] | None = None
    """Environment variable that tells the upstream version of a package."""


_REDIS_ENTRYPOINT: Final = """\
#!/bin/sh
# What the official image does: options alone mean redis-server, which drops root and, because
# clients sit in other containers, does not insist on a password.
set -e
case "${1:-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
    shift
    case "${1:-}" in
    '' | -*) set -- --protected-mode no --dir /data "$@" ;;
    esac
    set -- redis-server "$@"
    if [ "$(id -u)" = 0 ]; then
        find . \\! -user redis -exec chown redis '{}' +
        exec setpriv --reuid redis --regid redis --clear-groups "$@"
    fi
fi
exec "$@"
"""

_BUSYBOX_ACCOUNTS: Final = (
    File(
        path="etc/passwd",
        text="root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
        "bin:x:2:2:bin:/bin:/bin/false\n"
        "sys:x:3:3:sys:/dev:/bin/false\n"
        "mail:x:8:8:mail:/var/spool/mail:/bin/false\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\n"
        "operator:x:37:37:Operator:/var:/bin/false\n"
        "nobody:x:65534:65534:nobody:/home:/bin/false\n",
    ),
    File(
        path="etc/group",
        text="root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nwheel:x:10:\n"
        "mail:x:8:\nutmp:x:43:\nusers:x:100:\nwww-data:x:33:\noperator:x:37:\nnobody:x:65534:\n",
    ),
    File(path="etc/shadow", text="root:*:::::::\nnobody:*:::::::\n", mode=0o640),
    File(path="etc/nsswitch.conf", text="passwd: files\ngroup: files\nhosts: files dns\n"),
)

_DEBIAN: Final = ContainerConfig(env=[_PATH], cmd=["bash"])

RECIPES: Final = (
    Recipe(
        names=("debian:bookworm-slim", "debian:12-slim", "debian:bookworm", "debian:12"),
        codename="bookworm",
        title="debian",
        config=_DEBIAN,
    ),
    Recipe(
        names=("debian:trixie-slim", "debian:13-slim", "debian:trixie", "debian:13"),
        codename="trixie",
        title="debian",
        config=_DEBIAN,
    ),
    Recipe(
        names=("python:3.11-slim", "python:3.11-slim-bookworm"),
        codename="bookworm",
        title="python",
        config=ContainerConfig(env=[_PATH, "LANG=C.UTF-8"], cmd=["python3"]),
        packages=("python3", "python3-pip", "python3-venv", "ca-certificates", "netbase"),
        files=(
            File(path="usr/local/bin/python", link="/usr/bin/python3"),
            File(path="usr/local/bin/python3", link="/usr/bin/python3"),
        ),
        # With it pip refuses to install outside a virtual environment (PEP 668).
        excludes=("/usr/lib/python3.*/EXTERNALLY-MANAGED",),
        version_of=("PYTHON_VERSION", "python3.11"),
    ),
    Recipe(
        names=("redis:7", "redis:7-bookworm", "redis:7.0"),
        codename="bookworm",
        title="redis",
        config=ContainerConfig(
            env=[_PATH],
            entrypoint=["docker-entrypoint.sh"],
            cmd=["redis-server", "--protected-mode", "no", "--bind", "*", "-::*"],
            exposed_ports={"6379/tcp": {}},
            volumes={"/data": {}},
            working_dir="/data",
        ),
        packages=("redis-server",),
        files=(
            File(path="usr/local/bin/docker-entrypoint.sh", text=_REDIS_ENTRYPOINT, mode=0o755),
        ),
        commands=(("install", "-d", "-o", "redis", "-g", "redis", "/data"),),
        version_of=("REDIS_VERSION", "redis-server"),
    ),
    Recipe(
        names=("busybox:latest", "busybox:1", "busybox:1.35"),
        codename="bookworm",
        title="busybox",
        config=ContainerConfig(env=[_PATH], cmd=["sh"]),
        packages=("busybox-static",),
        has_base=False,
        excludes=("/usr/share/initramfs-tools*",),
        files=_BUSYBOX_ACCOUNTS,
        commands=(("/bin/busybox", "--install", "/bin"),),
    ),
)


def find_recipe(name: str) -> tuple[Recipe, Reference]:
    """Return the recipe for an image and the full name that it gets.

    Raises:
        InvalidParameterError: There is none; the text lists those there are.
    """
    reference = parse_reference(name).with_default_tag()
    for recipe in RECIPES:
        if reference.familiar() in recipe.names:
            return recipe, reference
    known = ", ".join(recipe.names[0].removesuffix(":latest") for recipe in RECIPES)
    raise InvalidParameterError(f"no recipe for {name}: kedge can make {known}")
