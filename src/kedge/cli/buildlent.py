"""``kedge build --secret`` and ``--ssh``: what a build is lent, in headers of its request.

The values never stand in the query, which logs and proxies may keep. An agent is lent by the path
of its socket, so the engine has to be on this machine.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

from kedge.cli.flags import UsageError
from kedge.errdefs import InvalidParameterError, NotFoundError

SECRETS_HEADER: Final = "X-Kedge-Build-Secrets"
AGENTS_HEADER: Final = "X-Kedge-Build-Ssh"
_MOST_BYTES: Final = 160_000


def lent_headers(
    secrets: Sequence[str], agents: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers for the values of ``--secret`` and ``--ssh``.

    Raises:
        UsageError: One is malformed.
        NotFoundError: A file, variable or socket is missing.
        InvalidParameterError: All secrets together are too large, or a key was given for an agent.
    """
    headers: dict[str, str] = {}
    if secrets:
        values = dict(_secret(text, environment) for text in secrets)
        headers[SECRETS_HEADER] = _encoded(values)
        if len(headers[SECRETS_HEADER]) > _MOST_BYTES:
            raise InvalidParameterError("--secret: more than 90 kB of secrets; use fewer")
    if agents:
        headers[AGENTS_HEADER] = _encoded(dict(_agent(text, environment) for text in agents))
    return headers


def _encoded(values: Mapping[str, str]) -> str:
    return base64.b64encode(json.dumps(values).encode()).decode()


def _secret(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = {"source": "src"}.get(key, key)
        if not equals or key not in ("id", "src", "env", "type"):
            raise UsageError(f"invalid --secret {text}: want id=NAME[,src=FILE|,env=VARIABLE]")
        fields[key] = value
    if fields.get("type", "file") not in ("file", "env"):
        raise UsageError(f"invalid --secret {text}: type must be file or env")
    secret_id = fields.get("id", "") or os.path.basename(fields.get("src", ""))
    if not secret_id or ("src" in fields and "env" in fields):
        raise UsageError(f"invalid --secret {text}: want id=NAME[,src=FILE|,env=VARIABLE]")
    data = _value(secret_id, fields, environment)
    return secret_id, base64.b64encode(data).decode()


def _value(secret_id: str, fields: Mapping[str, str], environment: Mapping[str, str]) -> bytes:
    is_variable = "env" in fields or fields.get("type") == "env"
    variable = fields.get("env", secret_id)
    if is_variable or ("src" not in fields and variable in environment):
        if variable not in environment:
            raise NotFoundError(f"--secret: no environment variable {variable}")
        return environment[variable].encode(errors="surrogateescape")
    try:
        with open(fields.get("src", secret_id), "rb") as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f"--secret: cannot read {error.filename}: {error.strerror}") from error


def _agent(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    agent_id, _, path = text.partition("=")
    path = path or environment.get("SSH_AUTH_SOCK", "")
    if not agent_id:
        raise UsageError(f"invalid --ssh {text}: want default or ID[=SOCKET]")
    if not path:
        raise NotFoundError(f"--ssh {text}: no agent: SSH_AUTH_SOCK is not set")
    if os.path.isfile(path):
        raise InvalidParameterError(
            f"--ssh {text}: {path} is a key: add it to an agent (ssh-add) and name its socket"
        )
    if not os.path.exists(path):
        raise NotFoundError(f"--ssh {text}: no socket at {path}")
    return agent_id, os.path.abspath(path)
