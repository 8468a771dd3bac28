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

# Watches and answers

UNSENT_OF_CONNECTION = Limit(
    "unsent-of-connection",
    8 * MIB,
    "bytes",
    bounds="events that the client of a watch has not read yet",
    beyond="its connection is cut, it begins anew",
    reason="a burst of 2000 events of 4 KiB; a client that is further behind is better off with a list",
)
UNSENT_OF_CALLER = Limit(
    "unsent-of-caller",
    64 * MIB,
    "bytes",
    bounds="answers and events that the clients of one identity have not read yet",
    beyond="answers wait 15 s, then 429; a watch is cut and begins anew",
    reason="a list of 100,000 small objects; a larger one is served when nothing else is under way",
)
UNSENT = Limit(
    "unsent",
    256 * MIB,
    "bytes",
    bounds="answers and events that no client has read yet",
    beyond="as above, once those that have not read for 5 s are cut, the largest first",
    reason="four identities at their own limit; twice what the process takes at rest",
)

WATCH_SELECTORS_OF_CALLER = Limit(
    "watch-selectors-of-caller",
    256 * KIB,
    "bytes",
    bounds="text of the selectors of all watches of one identity",
    beyond="429",
    reason="a compiled selector takes up to 90 times its text in memory; a selector of a controller has 50 bytes",
)
WATCH_SELECTORS = Limit(
    "watch-selectors",
    2 * MIB,
    "bytes",
    bounds="text of the selectors of all watches",
    beyond="429",
    reason="as above, for all identities together",
)
WATCH_BACKLOG = Limit(
    "watch-backlog",
    64 * MIB,
    "bytes",
    bounds="changes of one resource that have not been told to its watches yet",
    beyond="the watches of the resource end, their clients begin anew",
    reason="as much as the past a watch can resume from",
)
