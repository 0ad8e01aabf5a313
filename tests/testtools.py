"""Outside programs that ``scripts/test-tools`` builds: docker CLI plug-ins and judges."""

import os
from pathlib import Path


def tools_folder() -> Path:
    """Return where they are."""
    default = Path.home() / ".cache" / "kedge-test-tools"
    return Path(os.environ.get("KEDGE_TEST_TOOLS") or default)


def missing_plugins(*names: str) -> str:
    """Return why a test cannot have these plug-ins; empty where they are there."""
    folder = tools_folder() / "cli-plugins"
    gone = [name for name in names if not os.access(folder / name, os.X_OK)]
    if not gone:
        return ""
    return f"{' and '.join(gone)} not built: run scripts/test-tools, which needs Go"


def docker_config(folder: Path, *names: str) -> Path:
    """Make ``folder`` a configuration of the docker CLI with these plug-ins and nothing else."""
    plugins = folder / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    for name in names:
        link = plugins / name
        if not link.is_symlink():
            link.symlink_to(tools_folder() / "cli-plugins" / name)
    return folder
