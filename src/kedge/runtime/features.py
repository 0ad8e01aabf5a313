"""What `kedge-runtime features` says: the runtime specification's features document."""

from __future__ import annotations

from kedge import __version__
from kedge.lib.hints import TYPE_CHECKING
from kedge.linux.capabilities import NAMES
from kedge.oci.runtime_spec.parse import NAMESPACE_TYPES
from kedge.oci.runtime_spec_seccomp import ACTIONS, FLAGS, OPERATORS
from kedge.runtime.mount_options import option_names
from kedge.runtime.seccomp.architectures import native_architecture

if TYPE_CHECKING:
    from typing import Final

    from kedge.lib.jsontypes import Json, JsonObject


SPEC_VERSION: Final = "1.3.0"


def _list(names: frozenset[str] | tuple[str, ...]) -> list[Json]:
    return [*sorted(names)]


def features_document() -> JsonObject:
    """Return the features of this runtime on this machine."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        "mountOptions": _list(option_names()),
        "linux": {
            "namespaces": _list(NAMESPACE_TYPES),
            "capabilities": list(NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            "seccomp": {
                "enabled": True,
                "actions": _list(ACTIONS),
                "operators": _list(OPERATORS),
                "archs": [f"SCMP_ARCH_{native_architecture().name.upper()}"],
                "knownFlags": _list(FLAGS),
                "supportedFlags": _list(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"org.kedge.runtime.version": __version__},
    }
