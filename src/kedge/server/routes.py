"""Every operation of Engine API 1.51, and how far this engine goes with it.

Data only. The routers supply a handler for each served operation; the rest is answered by
`kedge.server.routers.plain`. Documentation is generated from this table.
"""

from typing import Final

from kedge.server.router import Route, Support

_PLAIN: Final = Support.PLAIN
_REFUSED: Final = Support.REFUSED

SYSTEM_ROUTES: Final = (
    Route("GET", "/_ping", "SystemPing"),
    Route("HEAD", "/_ping", "SystemPingHead"),
    Route("GET", "/version", "SystemVersion"),
    Route("GET", "/info", "SystemInfo"),
    Route("GET", "/events", "SystemEvents", cancellable=True),
    Route("GET", "/system/df", "SystemDataUsage"),
    Route("POST", "/auth", "SystemAuth"),
)

CONTAINER_ROUTES: Final = (
    Route("GET", "/containers/json", "ContainerList"),
    Route("POST", "/containers/create", "ContainerCreate"),
    Route("POST", "/containers/prune", "ContainerPrune"),
    Route("GET", "/containers/{name}/json", "ContainerInspect"),
    Route("GET", "/containers/{name}/top", "ContainerTop"),
    Route("GET", "/containers/{name}/logs", "ContainerLogs", cancellable=True),
    Route("GET", "/containers/{name}/changes", "ContainerChanges"),
    Route("GET", "/containers/{name}/stats", "ContainerStats", cancellable=True),
    Route("GET", "/containers/{name}/export", "ContainerExport"),
    Route("POST", "/containers/{name}/resize", "ContainerResize"),
    Route("POST", "/containers/{name}/start", "ContainerStart"),
    Route("POST", "/containers/{name}/stop", "ContainerStop"),
    Route("POST", "/containers/{name}/restart", "ContainerRestart"),
    Route("POST", "/containers/{name}/kill", "ContainerKill"),
    Route("POST", "/containers/{name}/update", "ContainerUpdate"),
    Route("POST", "/containers/{name}/rename", "ContainerRename"),
    Route("POST", "/containers/{name}/pause", "ContainerPause"),
    Route("POST", "/containers/{name}/unpause", "ContainerUnpause"),
    Route("POST", "/containers/{name}/attach", "ContainerAttach"),
    Route("GET", "/containers/{name}/attach/ws", "ContainerAttachWebsocket"),
    Route("POST", "/containers/{name}/wait", "ContainerWait", cancellable=True),
    Route("DELETE", "/containers/{name}", "ContainerDelete"),
    Route("HEAD", "/containers/{name}/archive", "ContainerArchiveInfo"),
    Route("GET", "/containers/{name}/archive", "ContainerArchive"),
    Route("PUT", "/containers/{name}/archive", "PutContainerArchive"),
)

EXEC_ROUTES: Final = (
    Route("POST", "/containers/{name}/exec", "ContainerExec"),
    Route("POST", "/exec/{name}/start", "ExecStart"),
    Route("POST", "/exec/{name}/resize", "ExecResize"),
    Route("GET", "/exec/{name}/json", "ExecInspect"),
)

IMAGE_ROUTES: Final = (
    Route("GET", "/images/json", "ImageList"),
    Route("POST", "/images/create", "ImageCreate", cancellable=True),
    Route("POST", "/images/bootstrap", "KedgeImageBootstrap", cancellable=True),
    Route("GET", "/images/{name}/json", "ImageInspect"),
    Route("GET", "/images/{name}/history", "ImageHistory"),
    Route("POST", "/images/{name}/tag", "ImageTag"),
    Route("DELETE", "/images/{name}", "ImageDelete"),
    Route("POST", "/images/prune", "ImagePrune"),
    Route("POST", "/images/{name}/push", "ImagePush", cancellable=True),
    Route("GET", "/images/search", "ImageSearch", cancellable=True),
    Route("GET", "/images/{name}/get", "ImageGet"),
    Route("GET", "/images/get", "ImageGetAll"),
    Route("POST", "/images/load", "ImageLoad"),
    Route("GET", "/images/{name}/layers", "KedgeImageLayers"),
    Route("POST", "/images/layers/missing", "KedgeImageLayersMissing"),
    Route("POST", "/commit", "ImageCommit"),
    Route("GET", "/distribution/{name}/json", "DistributionInspect"),
)

BUILD_ROUTES: Final = (
    Route("POST", "/build", "ImageBuild", cancellable=True),
    Route("POST", "/build/contexts", "KedgeBuildContext"),
    Route("GET", "/build/outputs/{name}", "KedgeBuildOutput"),
    Route("POST", "/build/shells/{name}", "KedgeBuildShell"),
    Route("POST", "/build/shells/{name}/resize", "KedgeBuildShellResize"),
    Route("POST", "/build/prune", "BuildPrune"),
    Route("POST", "/build/cancel", "BuildCancel"),
    Route("POST", "/session", "Session"),
    Route("POST", "/grpc", "Grpc"),
)

NETWORK_ROUTES: Final = (
    Route("GET", "/networks", "NetworkList"),
    # Not in Docker's description, but served by dockerd.
    Route("GET", "/networks/", "NetworkListSlash"),
    Route("GET", "/networks/{name}", "NetworkInspect"),
    Route("DELETE", "/networks/{name}", "NetworkDelete"),
    Route("POST", "/networks/create", "NetworkCreate"),
    Route("POST", "/networks/{name}/connect", "NetworkConnect"),
    Route("POST", "/networks/{name}/disconnect", "NetworkDisconnect"),
    Route("POST", "/networks/prune", "NetworkPrune"),
)

VOLUME_ROUTES: Final = (
    Route("GET", "/volumes", "VolumeList"),
    Route("GET", "/volumes/{name}", "VolumeInspect"),
    Route("POST", "/volumes/create", "VolumeCreate"),
    Route("DELETE", "/volumes/{name}", "VolumeDelete"),
    Route("PUT", "/volumes/{name}", "VolumeUpdate", _PLAIN),
    Route("POST", "/volumes/prune", "VolumePrune"),
)

PLUGIN_ROUTES: Final = (
    Route("GET", "/plugins", "PluginList", _PLAIN),
    Route("GET", "/plugins/privileges", "GetPluginPrivileges", _REFUSED),
    Route("POST", "/plugins/pull", "PluginPull", _REFUSED),
    Route("POST", "/plugins/create", "PluginCreate", _REFUSED),
    Route("GET", "/plugins/{name}/json", "PluginInspect", _PLAIN),
    Route("DELETE", "/plugins/{name}", "PluginDelete", _PLAIN),
    Route("POST", "/plugins/{name}/enable", "PluginEnable", _PLAIN),
    Route("POST", "/plugins/{name}/disable", "PluginDisable", _PLAIN),
    Route("POST", "/plugins/{name}/upgrade", "PluginUpgrade", _PLAIN),
    Route("POST", "/plugins/{name}/push", "PluginPush", _PLAIN),
    Route("POST", "/plugins/{name}/set", "PluginSet", _PLAIN),
)

SWARM_ROUTES: Final = (
    Route("GET", "/swarm", "SwarmInspect", _PLAIN),
    Route("POST", "/swarm/init", "SwarmInit", _REFUSED),
    Route("POST", "/swarm/join", "SwarmJoin", _REFUSED),
    Route("POST", "/swarm/leave", "SwarmLeave", _PLAIN),
    Route("POST", "/swarm/update", "SwarmUpdate", _PLAIN),
    Route("GET", "/swarm/unlockkey", "SwarmUnlockkey", _PLAIN),
    Route("POST", "/swarm/unlock", "SwarmUnlock", _PLAIN),
    Route("GET", "/nodes", "NodeList", _PLAIN),
    Route("GET", "/nodes/{name}", "NodeInspect", _PLAIN),
    Route("DELETE", "/nodes/{name}", "NodeDelete", _PLAIN),
    Route("POST", "/nodes/{name}/update", "NodeUpdate", _PLAIN),
    Route("GET", "/services", "ServiceList", _PLAIN),
    Route("POST", "/services/create", "ServiceCreate", _PLAIN),
    Route("GET", "/services/{name}", "ServiceInspect", _PLAIN),
    Route("DELETE", "/services/{name}", "ServiceDelete", _PLAIN),
    Route("POST", "/services/{name}/update", "ServiceUpdate", _PLAIN),
    Route("GET", "/services/{name}/logs", "ServiceLogs", _PLAIN),
    Route("GET", "/tasks", "TaskList", _PLAIN),
    Route("GET", "/tasks/{name}", "TaskInspect", _PLAIN),
    Route("GET", "/tasks/{name}/logs", "TaskLogs", _PLAIN),
    Route("GET", "/secrets", "SecretList", _PLAIN),
    Route("POST", "/secrets/create", "SecretCreate", _PLAIN),
    Route("GET", "/secrets/{name}", "SecretInspect", _PLAIN),
    Route("DELETE", "/secrets/{name}", "SecretDelete", _PLAIN),
    Route("POST", "/secrets/{name}/update", "SecretUpdate", _PLAIN),
    Route("GET", "/configs", "ConfigList", _PLAIN),
    Route("POST", "/configs/create", "ConfigCreate", _PLAIN),
    Route("GET", "/configs/{name}", "ConfigInspect", _PLAIN),
    Route("DELETE", "/configs/{name}", "ConfigDelete", _PLAIN),
    Route("POST", "/configs/{name}/update", "ConfigUpdate", _PLAIN),
)

ALL_ROUTES: Final = (
    SYSTEM_ROUTES
    + CONTAINER_ROUTES
    + EXEC_ROUTES
    + IMAGE_ROUTES
    + BUILD_ROUTES
    + NETWORK_ROUTES
    + VOLUME_ROUTES
    + PLUGIN_ROUTES
    + SWARM_ROUTES
)
