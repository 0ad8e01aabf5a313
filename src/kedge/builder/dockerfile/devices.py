"""The value of ``RUN --device``: a CDI device name and whether the step needs it."""

from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Device


def parse_device(text: str) -> Device:
    """Return the device of one ``RUN --device=`` value.

    Raises:
        DockerfileError: The name is missing or given twice, or ``required`` is no boolean.
    """
    name = ""
    is_required = False
    for index, field in enumerate(text.split(",")):
        key, separator, value = field.partition("=")
        if key == "required":
            is_required = (value.lower() if separator else "true") in ("1", "t", "true")
        elif key == "name" or index == 0:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value if key == "name" else field
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'")
    if not name:
        raise DockerfileError("device name is required")
    return Device(name=name, is_required=is_required)
