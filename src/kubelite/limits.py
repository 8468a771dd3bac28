"""Every bound on what others can make the process hold or do: name, value, unit, reason and metric of each.

A bound is declared here and used where it applies; `Limit.reached` counts each time it refuses, cuts or drops
something. docs/operations.md lists them all, and a test compares. Bounds of a format (an RFC's, a kernel's, a
field's in a schema) stay with the code of that format.
"""

from kubelite.metrics import REGISTRY

KIB = 1024
MIB = 1024 * KIB

_reached = REGISTRY.counter(
    "kubelite_limit_reached_total",
    "How often a limit refused, cut or dropped something.",
    ("limit",),
)
LIMITS: dict[str, "Limit"] = {}


class Limit:
    """A bound; `value` is in `unit`."""

    __slots__ = ("_count", "beyond", "bounds", "name", "reason", "unit", "value")

    def __init__(
        self, name: str, value: int, unit: str, *, bounds: str, beyond: str, reason: str
    ) -> None:
        """`bounds` says what is bounded, `beyond` what happens to more, `reason` why the number is what it is."""
        assert name not in LIMITS, f"{name} exists"
        self.name = name
        self.value = value
        self.unit = unit
        self.bounds = bounds
        self.beyond = beyond
        self.reason = reason
        self._count = _reached.labelled(name)
        LIMITS[name] = self

    def reached(self) -> None:
        """Count that something met the bound."""
        self._count.value += 1

    @property
    def times_reached(self) -> int:
        """How often something met the bound since the start of the process."""
        return int(self._count.value)

    def __repr__(self) -> str:
        return f"Limit({self.name!r}, {self.value} {self.unit})"


# Requests

REQUEST_BODY = Limit(
    "request-body",
    3 * MIB,
    "bytes",
    bounds="body of a request",
    beyond="413",
    reason="as the API server of Kubernetes",
)
OBJECT = Limit(
    "object",
    1_572_864,
    "bytes",
    bounds="stored object",
    beyond="413",
    reason="what etcd takes in a request by default",
)

# Work

INLINE_WORK = Limit(
    "inline-work",
    32 * KIB,
    "bytes",
    bounds="input of one piece of pure work on the event loop (bytes touched, times passes over them)",
    beyond="done in a worker thread",
    reason="about 10 ms of the loop for the slowest input",
)

# Files on a node

PATH_STEPS = Limit(
    "path-steps",
    64,
    "steps",
    bounds="folders in folders of a path inside a volume: items of configMaps and the like, and subPath",
    beyond="the pod waits with FailedMount or CreateContainerConfigError",
    reason="the node opens each step, and no layout of files nests so deep",
)
LINKS_FOLLOWED = Limit(
    "links-followed",
    40,
    "links",
    bounds="symbolic links on the way to a subPath",
    beyond="CreateContainerConfigError",
    reason="as Linux",
)
POD_FILES = Limit(
    "pod-files",
    64 * MIB,
    "bytes",
    bounds="content of a pod's configMap, secret, downwardAPI and projected volumes together",
    beyond="the pod waits with FailedMount",
    reason="a pod of 1 MB can name the same ConfigMap 20,000 times; this is forty of the largest",
)
TERMINATION_MESSAGE = Limit(
    "termination-message",
    4096,
    "bytes",
    bounds="what is read of a container's termination message",
    beyond="cut",
    reason="as Kubernetes",
)
POD_TERMINATION_MESSAGES = Limit(
    "pod-termination-messages",
    12 * KIB,
    "bytes",
    bounds="termination messages in a pod's status together, and each message of a container that waits",
    beyond="cut, all containers alike",
    reason="as Kubernetes; a status that is too large for the store would never be written",
)
HOST_HOSTS_FILE = Limit(
    "host-hosts-file",
    1 * MIB,
    "bytes",
    bounds="the host's /etc/hosts as pods on the host's network get it",
    beyond="cut",
    reason="large block lists have some hundred KiB",
)

# Containers on a node

EXEC_STRING = Limit(
    "exec-string",
    128 * KIB,
    "bytes",
    bounds="one argument or environment variable of a container, references expanded",
    beyond="CreateContainerConfigError",
    reason="what Linux takes (MAX_ARG_STRLEN)",
)
EXEC_TEXT = Limit(
    "exec-text",
    6 * MIB,
    "bytes",
    bounds="all arguments and environment variables of a container, references expanded",
    beyond="CreateContainerConfigError",
    reason="what Linux takes at most; $(A)$(A) in B, $(B)$(B) in C and so on doubles each time",
)
EXEC_PROBE_OUTPUT = Limit(
    "exec-probe-output",
    10 * KIB,
    "bytes",
    bounds="what is kept of the output of a command that probes or is a hook",
    beyond="dropped",
    reason="as Kubernetes",
)
HTTP_PROBE_HEAD = Limit(
    "http-probe-head",
    64 * KIB,
    "bytes",
    bounds="status line and header fields that a probed server sends",
    beyond="the probe fails",
    reason="no real server comes near, and what is probed may never end its head",
)
HTTP_PROBE_BODY = Limit(
    "http-probe-body",
    10 * KIB,
    "bytes",
    bounds="what is read of the body that a probed server sends",
    beyond="not read",
    reason="as Kubernetes",
)
GRPC_PROBE_ANSWER = Limit(
    "grpc-probe-answer",
    64 * KIB,
    "bytes",
    bounds="all frames that a server probed by gRPC sends",
    beyond="the probe fails",
    reason="an answer has some hundred bytes",
)

# Streams of a node

ENGINE_LINE = Limit(
    "engine-line",
    1 * MIB,
    "bytes",
    bounds="one line of the engine's events, or of its report on a pull or load",
    beyond="the call fails and is made anew",
    reason="a line has some hundred bytes; an error of a registry may be long",
)
LOG_FRAME = Limit(
    "log-frame",
    1 * MIB,
    "bytes",
    bounds="one entry of a log as the engine sends it",
    beyond="the log breaks off",
    reason="the engine's entries have 16 KiB",
)
UPGRADE_RECEIVED = Limit(
    "upgrade-received",
    1 * MIB,
    "bytes",
    bounds="what has arrived on an upgraded connection and was not taken yet",
    beyond="the client has to wait",
    reason="a frame of SPDY at most",
)
SPDY_FRAME = Limit(
    "spdy-frame",
    1 * MIB,
    "bytes",
    bounds="frame of SPDY",
    beyond="the connection is closed",
    reason="clients send 32 KiB at once",
)
SPDY_HEADERS = Limit(
    "spdy-headers",
    16 * KIB,
    "bytes",
    bounds="headers of a stream of SPDY, decompressed",
    beyond="the connection is closed",
    reason="clients send some hundred bytes; compressed, a thousand times as much fits into a frame",
)
SPDY_STREAMS = Limit(
    "spdy-streams",
    1000,
    "streams",
    bounds="open streams of a connection",
    beyond="the connection is closed",
    reason="two for each forwarded connection",
)
SPDY_BACKLOG = Limit(
    "spdy-backlog",
    256,
    "streams",
    bounds="streams of a connection that were opened and not taken up yet",
    beyond="the connection is closed",
    reason="an exec takes up five and no more, and streams that were reset stay in the backlog",
)
SPDY_STREAM_UNREAD = Limit(
    "spdy-stream-unread",
    256 * KIB,
    "bytes",
    bounds="what has arrived on a stream and was not read yet",
    beyond="the client has to wait",
    reason="some pieces of what clients send at once",
)
SPDY_UNREAD = Limit(
    "spdy-unread",
    4 * MIB,
    "bytes",
    bounds="what has arrived on all streams of a connection and was not read yet",
    beyond="the client has to wait",
    reason="a thousand streams with a little each are much",
)
FORWARDED_CONNECTIONS = Limit(
    "forwarded-connections",
    500,
    "connections",
    bounds="connections into a pod that one client of port-forward has open or begun",
    beyond="the stream is reset",
    reason="each takes a file descriptor of the node",
)
