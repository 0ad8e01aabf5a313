"""Images of services by digest: what the registries say their tags mean now."""

from kedge.client.http import EngineClient, percent_encode
from kedge.compose.canonical import section
from kedge.errdefs import KedgeError, UnavailableError
from kedge.lib.fields import text
from kedge.lib.jsontypes import JsonObject
from kedge.oci.references import parse_docker_reference


def pinned(model: JsonObject, client: EngineClient) -> JsonObject:
    """Return the model with the digest in every service's image, as its registry has it now.

    Raises:
        UnavailableError: No engine, or no registry, can be asked.
    """
    known: dict[str, str] = {}
    services: JsonObject = {}
    for name, service in section(model, "services").items():
        services[name] = service
        image = text(service, "image")
        if isinstance(service, dict) and image:
            if image not in known:
                known[image] = _pinned(image, client)
            services[name] = {**service, "image": known[image]}
    return {**model, "services": services}


def _pinned(image: str, client: EngineClient) -> str:
    reference = parse_docker_reference(image)
    if reference.digest:
        return reference.canonical()
    path = f"/distribution/{percent_encode(reference.canonical(), keep='/:')}/json"
    try:
        digest = text(client.get(path).object(), "Descriptor", "digest")
    except KedgeError as error:
        raise UnavailableError(f"cannot resolve the digest of {image}: {error}") from None
    return f"{reference.canonical()}@{digest}"


def lock_file(model: JsonObject) -> JsonObject:
    """Return an override file that holds nothing but the services' images."""
    return {
        "services": {
            name: {"image": text(service, "image")}
            for name, service in section(model, "services").items()
            if text(service, "image")
        }
    }
