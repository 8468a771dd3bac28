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
    reason="21 times the largest object; 60,000 keys of a ConfigMap take 8 MiB, a definition of 1.5 MiB takes 6",
)
DOCUMENT_DEPTH = Limit(
    "document-depth",
    256,
    "levels",
    bounds="objects and lists within each other in a body, and in what a patch makes",
    beyond="400, of a patch 422",
    reason="what is done with an object takes two frames a level, of a thousand; schemas have some 20",
)
UNKNOWN_FIELDS = Limit(
    "unknown-fields",
    1_000,
    "fields",
    bounds="fields that an object's kind does not know and that are named",
    beyond="dropped without being named",
    reason="nobody reads more; a thousand paths are some 50 KB",
)
DUPLICATE_FIELDS = Limit(
    "duplicate-fields",
    100,
    "fields",
    bounds="fields written twice that are named",
    beyond="not named",
    reason="as the decoder of Kubernetes",
)
PATH_VALUES = Limit(
    "path-values",
    100_000,
    "values",
    bounds="values of one object that a printer column's path looks at",
    beyond="not looked at",
    reason="an object of 1.5 MiB has fewer in its lists; descents below each other multiply",
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
    reason="nobody reads more; without a bound 2.7 MB of mistakes are answered with 97 MB",
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
