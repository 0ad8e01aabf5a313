"""BuildKit's messages, as far as this engine reads or writes them: field numbers and names.

Source: BuildKit's protocol definitions (``api/services/control``, ``frontend/gateway``,
``solver/pb``, ``session``) and fsutil's ``types``; names are kept as they are there.
"""

from typing import Final

from kedge.builder.buildkit.wire import Field, Kind, Many, Schema

_INTEGER = Kind.INTEGER
_BOOLEAN = Kind.BOOLEAN
_STRING = Kind.STRING
_BYTES = Kind.BYTES


def _one(name: str, schema: Schema) -> Field:
    return Field(name, Kind.MESSAGE, schema=schema)


def _list(name: str, schema: Schema) -> Field:
    return Field(name, Kind.MESSAGE, Many.LIST, schema)


def _texts(name: str) -> Field:
    return Field(name, _STRING, Many.LIST)


def _map(name: str) -> Field:
    return Field(name, _STRING, Many.MAP)


EMPTY: Final = Schema("Empty")
BYTES: Final = Schema("BytesMessage", {1: Field("data", _BYTES)})
TIMESTAMP: Final = Schema("Timestamp", {1: Field("seconds", _INTEGER), 2: Field("nanos", _INTEGER)})
ANY: Final = Schema("Any", {1: Field("type_url", _STRING), 2: Field("value", _BYTES)})
STATUS: Final = Schema(
    "Status", {1: Field("code", _INTEGER), 2: Field("message", _STRING), 3: _list("details", ANY)}
)

# solver/pb
PLATFORM: Final = Schema(
    "Platform",
    {
        1: Field("Architecture", _STRING),
        2: Field("OS", _STRING),
        3: Field("Variant", _STRING),
        4: Field("OSVersion", _STRING),
    },
)
OPERATION: Final = Schema(
    "Op",
    {
        1: _list(
            "inputs", Schema("Input", {1: Field("digest", _STRING), 2: Field("index", _INTEGER)})
        ),
        3: _one("source", Schema("SourceOp", {1: Field("identifier", _STRING), 2: _map("attrs")})),
    },
)
DEFINITION: Final = Schema(
    "Definition",
    {
        1: Field("def", _BYTES, Many.LIST),
        2: Field("metadata", Kind.MESSAGE, Many.MAP, Schema("OpMetadata")),
    },
)
SOURCE_INFO: Final = Schema(
    "SourceInfo",
    {1: Field("filename", _STRING), 2: Field("data", _BYTES), 4: Field("language", _STRING)},
)
POSITION: Final = Schema("Position", {1: Field("line", _INTEGER), 2: Field("character", _INTEGER)})
RANGE: Final = Schema("Range", {1: _one("start", POSITION), 2: _one("end", POSITION)})

# api/types
VERSION: Final = Schema(
    "BuildkitVersion",
    {
        1: Field("package", _STRING),
        2: Field("version", _STRING),
        3: Field("revision", _STRING),
        4: Field("dockerfileVersion", _STRING),
    },
)
GC_POLICY: Final = Schema(
    "GCPolicy",
    {
        1: Field("all", _BOOLEAN),
        2: Field("keepDuration", _INTEGER),
        3: Field("reservedSpace", _INTEGER),
        4: _texts("filters"),
        5: Field("maxUsedSpace", _INTEGER),
        6: Field("minFreeSpace", _INTEGER),
    },
)
WORKER: Final = Schema(
    "WorkerRecord",
    {
        1: Field("ID", _STRING),
        2: _map("Labels"),
        3: _list("platforms", PLATFORM),
        4: _list("GCPolicy", GC_POLICY),
        5: _one("BuildkitVersion", VERSION),
    },
)

# api/services/control
EXPORTER: Final = Schema("Exporter", {1: Field("Type", _STRING), 2: _map("Attrs")})
CACHE_ENTRY: Final = Schema("CacheOptionsEntry", {1: Field("Type", _STRING), 2: _map("Attrs")})
CACHE_OPTIONS: Final = Schema(
    "CacheOptions", {4: _list("Exports", CACHE_ENTRY), 5: _list("Imports", CACHE_ENTRY)}
)
SOLVE_REQUEST: Final = Schema(
    "SolveRequest",
    {
        1: Field("Ref", _STRING),
        2: _one("Definition", DEFINITION),
        3: Field("ExporterDeprecated", _STRING),
        4: _map("ExporterAttrsDeprecated"),
        5: Field("Session", _STRING),
        6: Field("Frontend", _STRING),
        7: _map("FrontendAttrs"),
        8: _one("Cache", CACHE_OPTIONS),
        9: _texts("Entitlements"),
        11: Field("Internal", _BOOLEAN),
        13: _list("Exporters", EXPORTER),
    },
)
SOLVE_RESPONSE: Final = Schema("SolveResponse", {1: _map("ExporterResponse")})
STATUS_REQUEST: Final = Schema("StatusRequest", {1: Field("Ref", _STRING)})
VERTEX: Final = Schema(
    "Vertex",
    {
        1: Field("digest", _STRING),
        2: _texts("inputs"),
        3: Field("name", _STRING),
        4: Field("cached", _BOOLEAN),
        5: _one("started", TIMESTAMP),
        6: _one("completed", TIMESTAMP),
        7: Field("error", _STRING),
    },
)
VERTEX_STATUS: Final = Schema(
    "VertexStatus",
    {
        1: Field("ID", _STRING),
        2: Field("vertex", _STRING),
        3: Field("name", _STRING),
        4: Field("current", _INTEGER),
        5: Field("total", _INTEGER),
        6: _one("timestamp", TIMESTAMP),
        7: _one("started", TIMESTAMP),
        8: _one("completed", TIMESTAMP),
    },
)
VERTEX_LOG: Final = Schema(
    "VertexLog",
    {
        1: Field("vertex", _STRING),
        2: _one("timestamp", TIMESTAMP),
        3: Field("stream", _INTEGER),
        4: Field("msg", _BYTES),
    },
)
VERTEX_WARNING: Final = Schema(
    "VertexWarning",
    {
        1: Field("vertex", _STRING),
        2: Field("level", _INTEGER),
        3: Field("short", _BYTES),
        4: Field("detail", _BYTES, Many.LIST),
        5: Field("url", _STRING),
        6: _one("info", SOURCE_INFO),
        7: _list("ranges", RANGE),
    },
)
STATUS_RESPONSE: Final = Schema(
    "StatusResponse",
    {
        1: _list("vertexes", VERTEX),
        2: _list("statuses", VERTEX_STATUS),
        3: _list("logs", VERTEX_LOG),
        4: _list("warnings", VERTEX_WARNING),
    },
)
WORKERS: Final = Schema("ListWorkersResponse", {1: _list("record", WORKER)})
INFO: Final = Schema("InfoResponse", {1: _one("buildkitVersion", VERSION)})
USAGE: Final = Schema(
    "UsageRecord",
    {
        1: Field("ID", _STRING),
        2: Field("Mutable", _BOOLEAN),
        3: Field("InUse", _BOOLEAN),
        4: Field("Size", _INTEGER),
        6: _one("CreatedAt", TIMESTAMP),
        7: _one("LastUsedAt", TIMESTAMP),
        8: Field("UsageCount", _INTEGER),
        9: Field("Description", _STRING),
        10: Field("RecordType", _STRING),
        11: Field("Shared", _BOOLEAN),
        12: _texts("Parents"),
    },
)
DISK_USAGE_REQUEST: Final = Schema(
    "DiskUsageRequest", {1: _texts("filter"), 2: Field("ageLimit", _INTEGER)}
)
DISK_USAGE: Final = Schema("DiskUsageResponse", {1: _list("record", USAGE)})
PRUNE_REQUEST: Final = Schema(
    "PruneRequest",
    {
        1: _texts("filter"),
        2: Field("all", _BOOLEAN),
        3: Field("keepDuration", _INTEGER),
        4: Field("reservedSpace", _INTEGER),
        5: Field("maxUsedSpace", _INTEGER),
        6: Field("minFreeSpace", _INTEGER),
    },
)

# frontend/gateway
REF: Final = Schema("Ref", {1: Field("id", _STRING), 2: _one("def", DEFINITION)})
REF_MAP: Final = Schema("RefMap", {1: Field("refs", Kind.MESSAGE, Many.MAP, REF)})
RESULT: Final = Schema(
    "Result",
    {
        1: Field("refDeprecated", _STRING),
        3: _one("ref", REF),
        4: _one("refs", REF_MAP),
        10: Field("metadata", _BYTES, Many.MAP),
    },
)
GATEWAY_SOLVE: Final = Schema(
    "SolveRequest",
    {
        1: _one("Definition", DEFINITION),
        2: Field("Frontend", _STRING),
        3: _map("FrontendOpt"),
        5: Field("allowResultReturn", _BOOLEAN),
        6: Field("allowResultArrayRef", _BOOLEAN),
        12: _list("CacheImports", CACHE_ENTRY),
        13: Field("FrontendInputs", Kind.MESSAGE, Many.MAP, DEFINITION),
        14: Field("Evaluate", _BOOLEAN),
    },
)
GATEWAY_SOLVED: Final = Schema(
    "SolveResponse", {1: Field("ref", _STRING), 3: _one("result", RESULT)}
)
RETURN_REQUEST: Final = Schema(
    "ReturnRequest", {1: _one("result", RESULT), 2: _one("error", STATUS)}
)
EVALUATE_REQUEST: Final = Schema("EvaluateRequest", {1: Field("Ref", _STRING)})
CAP: Final = Schema("APICap", {1: Field("ID", _STRING), 2: Field("Enabled", _BOOLEAN)})
PONG: Final = Schema(
    "PongResponse",
    {1: _list("FrontendAPICaps", CAP), 2: _list("LLBCaps", CAP), 3: _list("Workers", WORKER)},
)

# session
STAT: Final = Schema(
    "Stat",
    {
        1: Field("path", _STRING),
        2: Field("mode", _INTEGER),
        3: Field("uid", _INTEGER),
        4: Field("gid", _INTEGER),
        5: Field("size", _INTEGER),
        6: Field("modTime", _INTEGER),
        7: Field("linkname", _STRING),
        8: Field("devmajor", _INTEGER),
        9: Field("devminor", _INTEGER),
        10: Field("xattrs", _BYTES, Many.MAP),
    },
)
PACKET: Final = Schema(
    "Packet",
    {
        1: Field("type", _INTEGER),
        2: _one("stat", STAT),
        3: Field("ID", _INTEGER),
        4: Field("data", _BYTES),
    },
)
SECRET_REQUEST: Final = Schema("GetSecretRequest", {1: Field("ID", _STRING)})
SECRET: Final = Schema("GetSecretResponse", {1: Field("data", _BYTES)})
AGENT_REQUEST: Final = Schema("CheckAgentRequest", {1: Field("ID", _STRING)})
CREDENTIALS_REQUEST: Final = Schema("CredentialsRequest", {1: Field("Host", _STRING)})
CREDENTIALS: Final = Schema(
    "CredentialsResponse", {1: Field("Username", _STRING), 2: Field("Secret", _STRING)}
)

# containerd's content service
CONTENT_READ: Final = Schema("ReadContentRequest", {1: Field("digest", _STRING)})
CONTENT_PIECE: Final = Schema(
    "ReadContentResponse", {1: Field("offset", _INTEGER), 2: Field("data", _BYTES)}
)
CONTENT_WRITE: Final = Schema(
    "WriteContentRequest",
    {
        1: Field("action", _INTEGER),
        2: Field("ref", _STRING),
        3: Field("total", _INTEGER),
        4: Field("expected", _STRING),
        5: Field("offset", _INTEGER),
        6: Field("data", _BYTES),
    },
)
CONTENT_WRITTEN: Final = Schema(
    "WriteContentResponse", {1: Field("action", _INTEGER), 4: Field("offset", _INTEGER)}
)
