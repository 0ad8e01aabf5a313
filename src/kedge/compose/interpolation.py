"""Variables in a whole document, and the types their values take. Pure.

Only values are read, never keys. A value that held a variable where a number or a boolean is due
becomes one; the attributes in question are in `CASTS`.
"""

from collections.abc import Mapping
from typing import Final

from kedge.compose.failures import ModelError, Path, dotted
from kedge.compose.merging import Pattern, matches
from kedge.compose.template import InvalidTemplateError, MissingVariableError, Warn, substitute
from kedge.compose.values import parse_truth
from kedge.errdefs import InvalidParameterError
from kedge.lib.jsontypes import Json


def interpolate(
    value: Json,
    env: Mapping[str, str],
    *,
    warn: Warn | None = None,
    casts: Mapping[Pattern, str] | None = None,
    path: Path = (),
) -> Json:
    """Return ``value`` with its variables replaced.

    Raises:
        ModelError: A text is malformed, lacks a required variable, or is not of the type due.
    """
    if isinstance(value, dict):
        return {
            key: interpolate(item, env, warn=warn, casts=casts, path=(*path, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            interpolate(item, env, warn=warn, casts=casts, path=(*path, index))
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    text = _text(value, env, warn, path)
    for pattern, kind in (CASTS if casts is None else casts).items():
        if matches(path, pattern):
            return _cast(text, kind, path)
    return text


def _text(value: str, env: Mapping[str, str], warn: Warn | None, path: Path) -> str:
    where = dotted(path)
    try:
        return substitute(value, env, warn)
    except InvalidTemplateError:
        hint = f"You may need to escape any $ with another $. {value}"
        raise ModelError(path, f"invalid interpolation format for {where}. {hint}") from None
    except MissingVariableError as error:
        raise ModelError(path, f"error while interpolating {where}: {error}") from None


def _cast(text: str, kind: str, path: Path) -> Json:
    try:
        if kind == "bool":
            return parse_truth(text)
        if kind == "float":
            return float(text)
        return int(text) if len(text) < 20 else text
    except (ValueError, InvalidParameterError):
        raise ModelError(path, f"failed to cast {dotted(path)} to {kind}: '{text}'") from None


def _table() -> dict[Pattern, str]:
    service = {
        "int": "cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares "
        "oom_score_adj pids_limit ulimits.* ulimits.*.hard ulimits.*.soft healthcheck.retries "
        "ports.*.target deploy.replicas deploy.update_config.parallelism "
        "deploy.rollback_config.parallelism deploy.restart_policy.max_attempts "
        "deploy.placement.max_replicas_per_node scale",
        "float": "cpu_percent cpus deploy.update_config.max_failure_ratio "
        "deploy.rollback_config.max_failure_ratio",
        "bool": "init oom_kill_disable privileged read_only volumes.*.read_only "
        "volumes.*.volume.nocopy depends_on.*.required depends_on.*.restart "
        "healthcheck.disable stdin_open tty",
    }
    top = "networks.*.external networks.*.internal networks.*.attachable networks.*.enable_ipv4 "
    top += "networks.*.enable_ipv6 volumes.*.external secrets.*.external configs.*.external"
    table: dict[Pattern, str] = {tuple(name.split(".")): "bool" for name in top.split()}
    for kind, names in service.items():
        table |= {("services", "*", *name.split(".")): kind for name in names.split()}
    return table


CASTS: Final = _table()
