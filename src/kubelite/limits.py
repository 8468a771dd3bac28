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

# Queues

QUEUE_KEYS = Limit(
    "queue-keys",
    1_000_000,
    "keys",
    bounds="keys of one work queue, and as many delayed ones",
    beyond="not enqueued; the next change of the object enqueues it",
    reason="more than a cluster can have objects",
)
IDLE_TURNS = Limit(
    "idle-turns",
    16,
    "turns",
    bounds="turns of one key of a work queue in quick succession though nothing changed",
    beyond="a pause of 0.1 s before the next, doubling to 60 s, and a line in the log",
    reason="a reconcile may need a few steps; one that needs more goes in circles",
)
EVENTS_WAITING = Limit(
    "events-waiting",
    10_000,
    "events",
    bounds="events of one component that wait to be written",
    beyond="dropped, with a line in the log",
    reason="a burst of some thousand pods is written in full; one takes about 2 KB",
)
EVENTS_KNOWN = Limit(
    "events-known",
    4096,
    "entries",
    bounds="events, groups of events and sources that one component remembers, each",
    beyond="the one used longest ago is forgotten, its next event is a new object",
    reason="as client-go's correlator",
)
FAN_OUT = Limit(
    "fan-out",
    256,
    "steps",
    bounds="keys that one change of an object puts into a work queue at once, objects looked at for them included",
    beyond="enqueued in slices of as many, with a turn of the loop between them",
    reason="below a millisecond of the loop; most changes touch one key or a few",
)
COMPILED_SELECTORS = Limit(
    "compiled-selectors",
    200_000,
    "requirements and values",
    bounds="large label selectors that are kept ready to match",
    beyond="the one used longest ago is made anew when it is needed",
    reason="about 40 MiB; a selector of an object of 1.5 MiB has 50,000",
)

# Scheduling

DECISION_STEPS = Limit(
    "decision-steps",
    2_000_000,
    "steps",
    bounds="what is looked at to find a node for one pod, or pods that should leave one (terms times pods times nodes)",
    beyond="the pod stays unschedulable, its event says why; of preemption the best found so far",
    reason="a few seconds, with turns of the loop between, in which no other pod is placed",
)

# Service rules

SERVICE_RULES = Limit(
    "service-rules",
    50_000,
    "pairs",
    bounds="ports times endpoints, and ports times external addresses, of one service in a node's rules",
    beyond="each port has the first endpoints and addresses only, with an event on the service",
    reason="about 2 MiB of rules; the kernel takes a second for them",
)
POLICY_RULES = Limit(
    "policy-rules",
    500_000,
    "lines and elements",
    bounds="rules, and addresses in their sets, of all network policies on a node",
    beyond="not allowed, with an event on the policy",
    reason="about 20 MiB of rules; a thousand policies of a few hundred peers each",
)

# DNS

DNS_STEPS = Limit(
    "dns-steps",
    2000,
    "endpoints and ports",
    bounds="what is looked through for one answer about a service",
    beyond="left out of the answer",
    reason="about 10 ms of the loop; Endpoints hold 1,000 addresses",
)
