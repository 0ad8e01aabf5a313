"""``--change``: Dockerfile instructions on the configuration of a commit or an import."""

from collections.abc import Sequence
from typing import Final

from kedge.builder.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    OnBuild,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from kedge.builder.dockerfile.syntax import parse_document
from kedge.builder.dockerfile.typed import parse_instruction
from kedge.builder.lowering import Scope, lower
from kedge.builder.state import StageState
from kedge.errdefs import InvalidParameterError
from kedge.oci.image_spec import ContainerConfig
from kedge.oci.platforms import Platform

_SCOPE: Final = Scope(escape="\\", global_args={}, build_args={})


def apply_changes(
    config: ContainerConfig, changes: Sequence[str], platform: Platform
) -> ContainerConfig:
    """Return ``config`` after each of ``changes``.

    Raises:
        InvalidParameterError: One is no instruction, or none that only changes a configuration.
    """
    state = StageState(platform=platform, config=config)
    for node in (node for text in changes if text.strip() for node in parse_document(text).nodes):
        instruction = parse_instruction(node)
        match instruction:
            case (
                Cmd() | Entrypoint() | Env() | Expose() | Healthcheck() | Label() | OnBuild()
                | StopSignal() | User() | Volume() | Workdir()
            ):  # fmt: skip
                lower(instruction, state, _SCOPE)
            case _:
                name = type(instruction).__name__.upper()
                raise InvalidParameterError(f"{name} is not a valid change command")
    return state.config
