"""``kedge registry serve``: become the registry's process, which needs no engine."""

import json
import os
import sys
from typing import Final

from kedge.cli.command import Command
from kedge.cli.flags import Options, many, switch, value
from kedge.client.http import EngineClient
from kedge.errdefs import InvalidParameterError
from kedge.lib.durations import parse_duration
from kedge.lib.units import parse_size

_ADDRESS: Final = "127.0.0.1:5000"
_SYSTEM_ROOT: Final = "/var/lib/kedge-registry"
_SECOND_NS: Final = 1_000_000_000


def _run(options: Options, _client: EngineClient) -> int:
    config = {
        "listen": list(options.texts("listen")) or [_ADDRESS],
        "root": os.path.abspath(options.text("root") or _default_root()),
        "metrics": options.text("metrics"),
        "read_only": options.on("read-only"),
        "sparse": options.on("allow-sparse"),
        "htpasswd": options.text("htpasswd"),
        "anonymous_pull": options.on("anonymous-pull"),
        "token_realm": options.text("token-realm"),
        "token_service": options.text("token-service"),
        "token_issuer": options.text("token-issuer"),
        "token_keys": options.text("token-keys"),
        "tls_cert": options.text("tls-cert"),
        "tls_key": options.text("tls-key"),
        "tls_client_ca": options.text("tls-client-ca"),
        "origin": options.text("cache-of"),
        "origin_ttl": _seconds(options.text("cache-ttl")),
        "origin_user": options.text("origin-user"),
        "origin_password_file": options.text("origin-password-file"),
        "s3_bucket": options.text("s3-bucket"),
        "s3_endpoint": options.text("s3-endpoint"),
        "s3_region": options.text("s3-region"),
        "s3_redirect": options.on("s3-redirect"),
        "local_size": _size(options.text("local-size")),
        "collect_every": _seconds(options.text("collect-every")),
        "keep_unused": _seconds(options.text("keep-unused")),
        "keep_untagged": _seconds(options.text("keep-untagged")),
    }
    arguments = [sys.executable, "-m", "kedge.daemon.registryd", json.dumps(config)]
    os.execv(sys.executable, arguments)  # noqa: S606


def _default_root() -> str:
    if os.geteuid() == 0:
        return _SYSTEM_ROOT
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(data, "kedge", "registry")


def _size(text: str) -> int:
    """Return a size such as ``20GB``; negative where none is given."""
    return parse_size(text) if text else -1


def _seconds(text: str) -> float:
    """Return a duration such as ``24h``; ``never`` is negative."""
    if text == "never":
        return -1.0
    nanoseconds = parse_duration(text)
    if nanoseconds < 0:
        raise InvalidParameterError(f"invalid duration {text!r}: want such as 90s, 24h or never")
    return nanoseconds / _SECOND_NS


COMMAND: Final = Command(
    usage="[OPTIONS]",
    summary="Be a registry for a team or a CI job",
    flags=(
        many("listen", "ADDRESS", f"HOST:PORT to listen on (default {_ADDRESS})"),
        value("root", "DIR", f"Where images are kept (root's default: {_SYSTEM_ROOT})"),
        switch("read-only", "Give images out and take none in"),
        switch("allow-sparse", "Take manifests whose layers were not pushed"),
        value("htpasswd", "FILE", "Let in the users of this file, made with htpasswd -B"),
        switch("anonymous-pull", "Let everybody pull, and only users push"),
        value("token-realm", "URL", "Take the tokens of the authority there"),
        value("token-service", "NAME", "This registry's name at the authority"),
        value("token-issuer", "NAME", "The authority's own name"),
        value("token-keys", "FILE", "Its public keys: PEM or a JSON Web Key Set"),
        value("tls-cert", "FILE", "Certificate chain; SIGHUP reads it again"),
        value("tls-key", "FILE", "Its private key"),
        value("tls-client-ca", "FILE", "Demand client certificates of this authority"),
        value("cache-of", "URL", "Be a pull-through cache of the registry there"),
        value(
            "cache-ttl", "TIME", "How long a tag is served before the origin is asked", default="1m"
        ),
        value("origin-user", "NAME", "User at the cached registry"),
        value("origin-password-file", "FILE", "File with that user's password"),
        value("s3-bucket", "NAME[/PREFIX]", "Keep everything in this bucket of an S3 store"),
        value("s3-endpoint", "URL", "Address of a store that is not Amazon's"),
        value("s3-region", "NAME", "The bucket's region"),
        switch("s3-redirect", "Send clients to the bucket for what is not on this disk"),
        value(
            "local-size",
            "SIZE",
            "How much of this disk a cache, or a registry with a bucket (10GB), may use",
        ),
        value(
            "collect-every", "TIME", "Between garbage collections; SIGUSR1 does one", default="6h"
        ),
        value("keep-unused", "TIME", "How long blobs no manifest needs are kept", default="1h"),
        value(
            "keep-untagged", "TIME", "How long manifests without a name are kept", default="never"
        ),
        value("metrics", "ADDRESS", "HOST:PORT for the metrics, at /metrics"),
    ),
    run=_run,
    examples=(
        ("kedge registry serve", f"For this host, at {_ADDRESS}"),
        ("kedge registry serve --listen 0.0.0.0:443 --tls-cert c --tls-key k", "With TLS"),
        ("kedge registry serve --htpasswd users --anonymous-pull", "Only users may push"),
        (
            "kedge registry serve --cache-of https://registry-1.docker.io",
            "Download from Docker Hub once",
        ),
    ),
    at_most=0,
    needs_engine=False,
)
