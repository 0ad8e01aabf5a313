"""The OCI runtime specification's `config.json`: types and a strict parser."""

from kedge.oci.runtime_spec.parse import parse_process as parse_process
from kedge.oci.runtime_spec.parse import parse_spec as parse_spec
from kedge.oci.runtime_spec.types import Capabilities as Capabilities
from kedge.oci.runtime_spec.types import Process as Process
from kedge.oci.runtime_spec.types import Spec as Spec
from kedge.oci.runtime_spec.types import SpecMount as SpecMount
