"""What ``kedge registry serve`` was told, as the one JSON argument it hands to the server."""

import msgspec

from kedge.errdefs import InvalidParameterError


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; times in seconds."""

    listen: list[str]
    root: str
    metrics: str = ""
    """Address of a listener of its own for the metrics."""
    read_only: bool = False
    sparse: bool = False
    htpasswd: str = ""
    anonymous_pull: bool = False
    token_realm: str = ""
    token_service: str = ""
    token_issuer: str = ""
    token_keys: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    origin: str = ""
    """Address of the registry that this one is a cache of."""
    origin_ttl: float = 60.0
    """How long a tag is served before the origin is asked again."""
    origin_user: str = ""
    origin_password_file: str = ""
    s3_bucket: str = ""
    """Name of the bucket that keeps everything, and behind a slash what its keys begin with."""
    s3_endpoint: str = ""
    s3_region: str = ""
    s3_redirect: bool = False
    local_size: int = -1
    """How many bytes of blobs this disk may hold; below 0 all of them."""
    collect_every: float = 6 * 3600.0
    """Between two garbage collections; 0 is never."""
    keep_unused: float = 3600.0
    keep_untagged: float = -1.0
    """How long manifests without a name are kept; below 0 for ever."""


def parse_config(text: str) -> RegistryConfig:
    """Return the configuration.

    Raises:
        InvalidParameterError: It is malformed, or settings exclude or need one another.
    """
    try:
        config = msgspec.json.decode(text, type=RegistryConfig)
    except msgspec.DecodeError as error:
        raise InvalidParameterError(f"bad configuration: {error}") from error
    _check(config)
    return config


def _check(config: RegistryConfig) -> None:
    tokens = (config.token_realm, config.token_service, config.token_issuer, config.token_keys)
    if any(tokens) and not all(tokens):
        raise InvalidParameterError(
            "tokens need all of --token-realm, --token-service, --token-issuer and --token-keys"
        )
    if all(tokens) and config.htpasswd:
        raise InvalidParameterError("--htpasswd and --token-realm exclude each other")
    if config.anonymous_pull and not config.htpasswd:
        raise InvalidParameterError("--anonymous-pull needs --htpasswd")
    if bool(config.tls_cert) != bool(config.tls_key):
        raise InvalidParameterError("TLS needs both --tls-cert and --tls-key")
    if bool(config.origin_user) != bool(config.origin_password_file):
        raise InvalidParameterError("--origin-user and --origin-password-file go together")
    if config.tls_client_ca and not config.tls_cert:
        raise InvalidParameterError("--tls-client-ca needs --tls-cert and --tls-key")
    _check_storage(config)


def _check_storage(config: RegistryConfig) -> None:
    if not config.s3_bucket and (config.s3_endpoint or config.s3_region or config.s3_redirect):
        raise InvalidParameterError("--s3-endpoint, --s3-region and --s3-redirect need --s3-bucket")
    if config.s3_bucket and config.origin:
        raise InvalidParameterError(
            "a cache keeps its blobs on this disk: leave --s3-bucket out and bound it with"
            " --local-size"
        )
    if config.local_size >= 0 and not (config.s3_bucket or config.origin):
        raise InvalidParameterError(
            "--local-size would lose images here: it is for --s3-bucket and --cache-of"
        )
