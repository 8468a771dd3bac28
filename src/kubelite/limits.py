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

# Disk and history

WAITING_WRITES = Limit(
    "waiting-writes",
    20_000,
    "changes",
    bounds="changes that wait for the disk",
    beyond="503",
    reason="seconds of a slow disk; later callers would give up first",
)
WAITING_BYTES = Limit(
    "waiting-bytes",
    256 * MIB,
    "bytes",
    bounds="bytes of changes that wait for the disk",
    beyond="503",
    reason="a few hundred of the largest objects",
)
HISTORY_CHANGES = Limit(
    "history-changes",
    20_000,
    "changes",
    bounds="changes that a watch can resume from",
    beyond="410, the client lists anew",
    reason="minutes of a busy cluster",
)
HISTORY_CHANGES_APART = Limit(
    "history-changes-apart",
    2000,
    "changes",
    bounds="changes that a watch of Leases can resume from",
    beyond="410, the client lists anew",
    reason="heartbeats must not push other changes out",
)
HISTORY_SECONDS = Limit(
    "history-seconds",
    300,
    "seconds",
    bounds="age of changes that a watch can resume from",
    beyond="410, the client lists anew",
    reason="as long as etcd keeps them for Kubernetes",
)
HISTORY_BYTES = Limit(
    "history-bytes",
    64 * MIB,
    "bytes",
    bounds="bytes of changes that a watch can resume from",
    beyond="410, the client lists anew",
    reason="what a small machine can spare for the past",
)
EVENT_SECONDS = Limit(
    "event-seconds",
    3600,
    "seconds",
    bounds="life of an Event after its last write",
    beyond="removed",
    reason="as the API server of Kubernetes",
)
DISRUPTED_PODS = Limit(
    "disrupted-pods",
    2000,
    "pods",
    bounds="evictions of one budget that its controller has not confirmed yet",
    beyond="403",
    reason="as the API server of Kubernetes",
)
AUDIT_LINES = Limit(
    "audit-lines",
    10_000,
    "lines",
    bounds="audit lines in memory",
    beyond="dropped, counted, said in the log",
    reason="seconds of a busy server; requests must not wait for the log",
)
WATCH_LINE = Limit(
    "watch-line",
    16 * MIB,
    "bytes",
    bounds="one line of a watch, as the agent of a node reads it",
    beyond="the watch begins anew",
    reason="ten of the largest objects",
)
