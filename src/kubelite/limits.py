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

# Documents

DOCUMENT = Limit(
    "document",
    32 * MIB,
    "bytes",
    bounds="memory that the values of one body take once they are read, and the defaults filled into them",
    beyond="413",
    reason="21 times the largest object; 60,000 keys of a ConfigMap take 14 MiB, a definition of 1 MiB takes 5",
)
PATCH_OPERATIONS = Limit(
    "patch-operations",
    10_000,
    "operations",
    bounds="one JSON patch",
    beyond="413",
    reason="as the API server of Kubernetes",
)
PATCH_COPIES = Limit(
    "patch-copies",
    3 * MIB,
    "bytes",
    bounds="what all copy operations of one JSON patch add",
    beyond="413",
    reason="as the API server of Kubernetes: its limit of a body",
)
PATCH_WORK = Limit(
    "patch-work",
    1 << 28,
    "steps",
    bounds="list elements that one JSON patch moves, values that it copies or compares",
    beyond="413",
    reason="about 0.1 s of a worker thread for moves; 500 operations at the head of a list of 500,000",
)

# Selectors

SELECTOR_REQUIREMENTS = Limit(
    "selector-requirements",
    1_000,
    "requirements",
    bounds="a selector in a parameter or in an access review",
    beyond="400, in a review 422",
    reason="real selectors have some tens; Kubernetes has no bound, and anybody may ask 3 MiB of them",
)
RAW_SELECTOR = Limit(
    "raw-selector",
    64 * KIB,
    "characters",
    bounds="selector written as text in an access review",
    beyond="422",
    reason="no request carries a longer one in its address",
)

# Errors

CAUSES = Limit(
    "causes",
    500,
    "causes",
    bounds="what one answer says is wrong with an object",
    beyond="not looked for, the answer says so",
    reason="nobody reads more; Kubernetes has no bound and answers 2.7 MB of mistakes with 97 MB",
)
CAUSES_TEXT = Limit(
    "causes-text",
    256 * KIB,
    "bytes",
    bounds="texts of all causes of one answer",
    beyond="not looked for, the answer says so",
    reason="500 causes of 500 bytes; a message repeats them once",
)
SHOWN_VALUE = Limit(
    "shown-value",
    8 * KIB,
    "characters",
    bounds="a wrong value that a cause quotes",
    beyond="cut, with an ellipsis",
    reason="a cause about a list could quote megabytes, once for each of its items",
)
ERROR_MESSAGE = Limit(
    "error-message",
    512 * KIB,
    "characters",
    bounds="message of an error",
    beyond="cut, with an ellipsis",
    reason="twice what all causes may take",
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

# DNS

DNS_STEPS = Limit(
    "dns-steps",
    4000,
    "endpoints and ports",
    bounds="what is looked through for one answer about a service",
    beyond="left out of the answer",
    reason="about 10 ms of the loop; a message of 64 KiB holds no more addresses",
)

# Nodes

SECCOMP_PROFILE = Limit(
    "seccomp-profile",
    256 * KIB,
    "bytes",
    bounds="file of a seccomp profile that a container names",
    beyond="the container is not made; its status says why",
    reason="profiles that list every system call have some 20 KiB",
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
