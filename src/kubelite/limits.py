"""Every bound on what clients and containers can make the process hold or do: name, value, unit, reason, metric.

A bound is declared here and used where it applies; `Limit.reached` counts each time it refuses, cuts or drops
something. docs/operations.md lists all, which a test checks. Bounds of a format (an RFC's, a kernel's, a
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
        """`bounds` says what is bounded, `beyond` what happens beyond it, `reason` why it has this value."""
        assert name not in LIMITS, f"{name} exists"
        self.name = name
        self.value = value
        self.unit = unit
        self.bounds = bounds
        self.beyond = beyond
        self.reason = reason
        self._count = _reached.labelled(name)
        LIMITS[name] = self

    def reached(self, times: int = 1) -> None:
        """Count that the bound was reached; call it wherever it refuses, cuts or drops something."""
        self._count.value += times

    @property
    def times_reached(self) -> int:
        """Return how often the bound was reached since the start of the process."""
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
OPENAPI_SCHEMAS = Limit(
    "openapi-schemas",
    32 * MIB,
    "bytes",
    bounds="schemas of custom resources in one OpenAPI document",
    beyond="further kinds are shown without their fields",
    reason="five large operators bring 8 MiB; documents of this size take some 100 MiB while they are built",
)
OPENAPI_DOCUMENTS = Limit(
    "openapi-documents",
    16 * MIB,
    "bytes",
    bounds="OpenAPI v3 documents of custom resources that are kept",
    beyond="those that were not asked for longest are dropped, and built again when asked for",
    reason="some 400 group versions of one small kind each, or all of five large operators",
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

# Shapes of custom resources

ALTERNATIVES = Limit(
    "alternatives",
    500_000,
    "checks",
    bounds="alternatives of a schema (anyOf, oneOf, allOf, not) that the values of one object are checked against",
    beyond="422",
    reason="about 1.5 s of a worker thread; 10,000 values with 50 alternatives each, which real schemas do not reach",
)
PATTERN = Limit(
    "pattern",
    2 * MIB,
    "bytes",
    bounds="memory of one compiled pattern of a schema, the states that matching adds included",
    beyond="422; at matching slower, states are forgotten",
    reason="256 patterns are kept compiled; one of 16 groups of Unicode takes 0.1 MiB, usual ones take 1 KiB",
)
DEFINITION_PATTERNS = Limit(
    "definition-patterns",
    500_000,
    "instructions",
    bounds="the distinct patterns of one definition when it is checked, a character counting as 10",
    beyond="422",
    reason="about 1.5 s of a worker thread; those of 54 real definitions together are 20,000",
)
PATTERN_PROGRAM = Limit(
    "pattern-program",
    20_000,
    "instructions",
    bounds="one compiled pattern of a schema where there is no google-re2",
    beyond="422",
    reason="some 3 MiB; a character costs up to as many steps, and real patterns have 100",
)
PATTERN_SEARCH = Limit(
    "pattern-search",
    1 << 28,
    "bytes",
    bounds="text that may be walked over, again and again, until all matches of a pattern are found",
    beyond="the expression that asks for them fails",
    reason="about 0.3 s; a text of 16 KiB never reaches it, and one of 1 MiB with 250 matches does not",
)

# Expressions

EXPRESSION_LENGTH = Limit(
    "expression-length",
    100_000,
    "characters",
    bounds="an expression in CEL",
    beyond="the expression is refused",
    reason="what Kubernetes takes",
)
EXPRESSION_NODES = Limit(
    "expression-nodes",
    20_000,
    "nodes",
    bounds="what the macros of an expression copy of it",
    beyond="the expression is refused",
    reason="optMap copies what it is called on, so a chain of them doubles with each",
)
EXPRESSION_COST = Limit(
    "expression-cost",
    1_000_000,
    "units",
    bounds="what one evaluation of an expression may cost, in Kubernetes' units",
    beyond="the evaluation is broken off and fails",
    reason="what Kubernetes allows; it takes about 0.1 s, so who evaluates at length leaves the loop",
)
SELECTOR_COST = Limit(
    "selector-cost",
    1_000_000,
    "units",
    bounds="what selecting one device with an expression may cost, estimated and in fact",
    beyond="the selector is refused; one that was stored fails",
    reason="what Kubernetes allows",
)
SELECTOR_LENGTH = Limit(
    "selector-length",
    10 * 1024,
    "bytes",
    bounds="an expression that selects devices",
    beyond="it is refused, and not compiled",
    reason="what Kubernetes takes",
)
EXPRESSION_INLINE = Limit(
    "expression-inline",
    20_000,
    "units",
    bounds="what an evaluation may cost on the event loop",
    beyond="it is repeated off the loop",
    reason="a few milliseconds; rules of custom resources rarely cost more than some hundred",
)
EXPRESSION_WORK = Limit(
    "expression-work",
    500_000,
    "elements",
    bounds="what one evaluation of an expression compares and copies of lists and maps",
    beyond="the evaluation fails as if its cost limit were passed",
    reason="cost counts a comparison of lists by their length and a sum of lists as one step, however much is in them;"
    " an object of 3 MiB has fewer",
)
RULES_COST = Limit(
    "rules-cost",
    10_000_000,
    "units",
    bounds="what all rules of a custom resource's schema may cost for one object, in Kubernetes' units",
    beyond="the object is refused",
    reason="what Kubernetes allows",
)
RULE_MESSAGE = Limit(
    "rule-message",
    5 * 1024,
    "bytes",
    bounds="what the expression of a rule's message yields",
    beyond="the message of the rule stands in for it",
    reason="what Kubernetes takes",
)
EXPRESSIONS_ON_LOOP = Limit(
    "expressions-on-loop",
    10_000,
    "units of cost",
    bounds="what the expressions of policies cost on the event loop for one request, with the values in its objects",
    beyond="they are evaluated in a worker thread",
    reason="about 5 ms of the loop; a usual policy costs some hundred",
)
EXPRESSION_PROGRAMS = Limit(
    "expression-programs",
    1000,
    "programs",
    bounds="compiled expressions that an environment keeps",
    beyond="the one not used for the longest time is dropped and compiled again when it is needed",
    reason="more rules than a cluster full of operators has in use at a time; one takes some kilobytes",
)
CEL_TEXT = Limit(
    "cel-text",
    4 * MIB,
    "characters",
    bounds="text that one call of a function makes in an expression",
    beyond="the expression fails",
    reason="more than twice the largest object; Kubernetes has no bound where a short text is repeated",
)
CEL_TEXT_FREE = Limit(
    "cel-text-free",
    1_000,
    "characters",
    bounds="text made by replace and format for which an expression is charged by their arguments only",
    beyond="it is charged by the text's length, so that an expression makes 10 MB of such texts at most",
    reason="what messages need; up to it costs are those of Kubernetes",
)
CEL_LIST = Limit(
    "cel-list",
    1_000_000,
    "elements",
    bounds="list that one call of a function makes in an expression",
    beyond="the expression fails",
    reason="each element costs 1, of at most 1,000,000 an expression may cost",
)
CEL_VALUES = Limit(
    "cel-values",
    1_000_000,
    "values",
    bounds="lists and their elements that one call of flatten walks over in an expression",
    beyond="the expression fails",
    reason="an object has fewer; lists that hold one list many times over would multiply",
)
CEL_PATTERN = Limit(
    "cel-pattern",
    20_000,
    "characters",
    bounds="regular expression in an expression",
    beyond="it is refused, as one that is too large",
    reason="reading it takes 20 ms; compiled it would be past the bound of memory anyway",
)
CEL_DIGITS = Limit(
    "cel-digits",
    4_096,
    "digits",
    bounds="a quantity that is calculated in an expression",
    beyond="the expression fails",
    reason="the largest quantity with a suffix has 40",
)

ADMISSION_METRICS = Limit(
    "admission-metrics",
    500,
    "names",
    bounds="the webhooks and policies that the metrics of admission tell apart",
    beyond="those that are used later share the label `other`",
    reason="whoever may create them may name them anew each time, and labels stay until a restart",
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

# Reviews and decisions

REVIEW_GROUPS = Limit(
    "review-groups",
    2_000,
    "groups",
    bounds="groups, and values of extra, of the subject of an access review",
    beyond="422",
    reason="directories give some hundreds; each is looked up, and Kubernetes has no bound",
)
REVIEW_SUBJECT = Limit(
    "review-subject",
    64 * KIB,
    "characters",
    bounds="user, uid, groups and extra of the subject of an access review together",
    beyond="422",
    reason="no request carries more of them in its headers or its token",
)
DECISION_KEY = Limit(
    "decision-key",
    2 * KIB,
    "characters",
    bounds="who asks and what is asked, in a decision of RBAC or of flow control that is remembered",
    beyond="the decision is made anew each time",
    reason="8192 and 4096 decisions are remembered: 24 MiB at most. A usual one has some 300 characters",
)

# Joining

JOINING = Limit(
    "joining",
    500,
    "machines",
    bounds="names of nodes that are bound to a machine which has not registered yet",
    beyond="requests of further machines wait",
    reason="each is a Secret, which stays for a year if the machine never registers; all is done in seconds usually",
)
SIGNING_REQUEST = Limit(
    "signing-request",
    64 * KIB,
    "bytes",
    bounds="PEM of a certificate signing request",
    beyond="it counts as malformed",
    reason="it is read several times on the loop; one with the longest usual key and 64 names has some 8 KiB",
)
CERTIFICATE_NAMES = Limit(
    "certificate-names",
    64,
    "names and addresses",
    bounds="alternative names of a node's serving certificate",
    beyond="the request is denied",
    reason="each is compared with those of the server and of other nodes; a node has a name and a few addresses",
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

WARNINGS = Limit(
    "warnings",
    4096,
    "characters",
    bounds="all Warning headers of an answer",
    beyond="each is cut to the next bound and the last are left out",
    reason="as the API server of Kubernetes",
)
WARNING = Limit(
    "warning",
    256,
    "characters",
    bounds="a Warning header, once all are too long",
    beyond="cut",
    reason="as the API server of Kubernetes",
)
OBJECT_WARNINGS = Limit(
    "object-warnings",
    256,
    "warnings",
    bounds="what the rules of a kind warn of about one object",
    beyond="the rest is not looked for",
    reason="more than all Warning headers of an answer hold; pairs of ports or paths can be millions",
)

# Streams and proxies

RELAYED_STREAMS = Limit(
    "relayed-streams",
    2_000,
    "streams",
    bounds="logs, exec, attach, port-forward and proxied requests the API passes on at once",
    beyond="429",
    reason="each holds two connections with 64 KiB of buffers either way",
)
STREAM_BUFFER = Limit(
    "stream-buffer",
    64 * KIB,
    "bytes",
    bounds="what waits in each direction of a relayed stream, and the head of a backend's answer",
    beyond="the sender is not read; a longer head is answered with 503",
    reason="fills a fast link; one read of a socket comes on top",
)
DIAL_SECONDS = Limit(
    "dial-seconds",
    10,
    "seconds",
    bounds="time to connect to a node, pod or service, TLS included",
    beyond="503",
    reason="longer than a lost packet takes to be sent again twice",
)
BACKEND_HEAD_SECONDS = Limit(
    "backend-head-seconds",
    60,
    "seconds",
    bounds="time until a node, pod or service begins to answer",
    beyond="503",
    reason="as any other request",
)
BACKEND_PAGE_SECONDS = Limit(
    "backend-page-seconds",
    60,
    "seconds",
    bounds="time for a page whose links are rewritten, or for the text of a node's refusal",
    beyond="503, or the refusal without its text",
    reason="as any other request",
)
PROXIED_PAGE = Limit(
    "proxied-page",
    4 * MIB,
    "bytes",
    bounds="HTML page of a proxied server, whose links are rewritten",
    beyond="503",
    reason="pages of dashboards are below 1 MiB; rewriting takes 0.2 s a MiB in a thread",
)
PROXIED_PAGES = Limit(
    "proxied-pages",
    64 * MIB,
    "bytes",
    bounds="all HTML pages that are rewritten at once",
    beyond="503",
    reason="sixteen of the longest",
)

# Aggregated APIs

AGGREGATED_REQUESTS = Limit(
    "aggregated-requests",
    500,
    "requests",
    bounds="requests and watches that one other API server answers at once",
    beyond="429",
    reason="a server that hangs must leave the others their connections; each holds two, with 64 KiB of buffers",
)
AGGREGATED_IDLE_CONNECTIONS = Limit(
    "aggregated-idle-connections",
    100,
    "connections",
    bounds="connections to other API servers that are kept open between requests",
    beyond="closed after the answer",
    reason="what Go keeps by default; some 60 KiB each",
)
AGGREGATED_IDLE_SECONDS = Limit(
    "aggregated-idle-seconds",
    30,
    "seconds",
    bounds="time that an unused connection to another API server stays open",
    beyond="closed",
    reason="less than servers wait, so that a request seldom meets a connection that is just closed; Go's wait 90",
)
AGGREGATED_AUTHORITIES = Limit(
    "aggregated-authorities",
    64,
    "bundles",
    bounds="bundles of certificate authorities of APIServices that are kept parsed",
    beyond="all are dropped and parsed anew",
    reason="more than the other API servers of a cluster; each takes some 50 KiB",
)
AGGREGATED_DISCOVERY = Limit(
    "aggregated-discovery",
    2 * MIB,
    "bytes",
    bounds="discovery document of another API server, and its index of OpenAPI documents",
    beyond="its group versions are marked as stale",
    reason="that of Kubernetes itself has 200 KiB",
)
AGGREGATED_DISCOVERY_SECONDS = Limit(
    "aggregated-discovery-seconds",
    5,
    "seconds",
    bounds="time for a discovery document of another API server, from the first packet to the last byte",
    beyond="503, and in the list of all its group versions are marked as stale",
    reason="as the API server of Kubernetes",
)
AGGREGATED_OPENAPI = Limit(
    "aggregated-openapi",
    8 * MIB,
    "bytes",
    bounds="OpenAPI document of another API server",
    beyond="503, and in the merged document it is left out",
    reason="that of Kubernetes itself has 4 MiB",
)
AGGREGATED_OPENAPI_KEPT = Limit(
    "aggregated-openapi-kept",
    32 * MIB,
    "bytes",
    bounds="OpenAPI documents of other API servers that are kept",
    beyond="those asked for least recently are dropped and fetched anew; in the merged document they are left out",
    reason="thirty servers with documents of 1 MiB",
)
AGGREGATED_OPENAPI_SECONDS = Limit(
    "aggregated-openapi-seconds",
    20,
    "seconds",
    bounds="time for an OpenAPI document of another API server; the merged document waits 5 of them",
    beyond="503, and in the merged document it is left out",
    reason="8 MiB over a slow link; clients of OpenAPI wait 30 s",
)
AGGREGATED_READ = Limit(
    "aggregated-read",
    16 * MIB,
    "bytes",
    bounds="answer of another API server to a component of this process, such as the metrics of an autoscaler's pods",
    beyond="the component's request fails",
    reason="the metrics of 20,000 pods with two containers each",
)
AGGREGATED_READ_SECONDS = Limit(
    "aggregated-read-seconds",
    30,
    "seconds",
    bounds="time for an answer of another API server to a component of this process",
    beyond="the component's request fails",
    reason="two periods of an autoscaler; metrics that come later are stale",
)

# Autoscaling

AUTOSCALER_METRICS = Limit(
    "autoscaler-metrics",
    20_000,
    "values",
    bounds="values that the server of metrics returns for one metric of an autoscaler",
    beyond="the metric counts as invalid",
    reason="more than the pods of the largest cluster that Kubernetes promises to serve, per target",
)

# Tunnels

TUNNEL_STREAMS = Limit(
    "tunnel-streams",
    1_000,
    "streams",
    bounds="connections to one node, or to pods on it, that its tunnel carries at once",
    beyond="503",
    reason="half of all relayed streams; each has two sockets",
)
TUNNEL_WINDOW = Limit(
    "tunnel-window",
    256 * KIB,
    "bytes",
    bounds="what waits at the receiver of a stream of a tunnel that has taken some already; before that 64 KiB",
    beyond="the sender has to wait",
    reason="25 MB/s over 10 ms",
)
TUNNEL_WINDOWS = Limit(
    "tunnel-windows",
    32 * MIB,
    "bytes",
    bounds="by how much the windows of all streams of a tunnel exceed 64 KiB",
    beyond="further windows stay at 64 KiB",
    reason="170 fast streams at once; with 64 KiB for each of 1,000 it makes less than 100 MiB",
)
TUNNEL_CONTROL = Limit(
    "tunnel-control",
    256 * KIB,
    "bytes",
    bounds="answers and grants that wait until the other end of a tunnel takes them",
    beyond="the tunnel is closed",
    reason="ten frames for each of the streams, which no end that keeps to the protocol causes",
)
TUNNEL_SILENCE_SECONDS = Limit(
    "tunnel-silence-seconds",
    30,
    "seconds",
    bounds="time in which nothing comes through a tunnel, before a node asks with PING; a server waits 10 more",
    beyond="PING",
    reason="networks on the way forget a silent connection after a minute or more",
)
TUNNEL_PONG_SECONDS = Limit(
    "tunnel-pong-seconds",
    15,
    "seconds",
    bounds="time until anything comes after PING",
    beyond="the tunnel is closed, and the node opens another",
    reason="a lost packet is sent again several times",
)

# Other listeners

DNS_CONNECTIONS = Limit(
    "dns-connections",
    200,
    "connections",
    bounds="DNS connections by TCP on a node; one address may have a tenth",
    beyond="takes the place of one that waits for a question, else closed at once",
    reason="TCP is for answers too long for UDP",
)
DNS_IDLE_SECONDS = Limit(
    "dns-idle-seconds",
    10,
    "seconds",
    bounds="time until a question by TCP is complete, an answer is found, and it is taken",
    beyond="closed",
    reason="as RFC 7766 asks: seconds",
)
UNREAD_SECONDS = Limit(
    "unread-seconds",
    60,
    "seconds",
    bounds="time until a client has taken an answer, before its next request is served",
    beyond="closed",
    reason="as the API server of Kubernetes, which gives a request that long",
)
DNS_UNDER_WAY = Limit(
    "dns-under-way",
    1_000,
    "questions",
    bounds="questions by UDP that wait for a resolver outside",
    beyond="dropped; clients ask again",
    reason="each costs a socket for up to some seconds",
)
HEALTH_CONNECTIONS = Limit(
    "health-connections",
    200,
    "connections",
    bounds="connections to all health check node ports; one address may have a quarter",
    beyond="closed at once",
    reason="a load balancer asks once in some seconds",
)
HEALTH_SECONDS = Limit(
    "health-seconds",
    5,
    "seconds",
    bounds="time for a question to a health check node port, and for its answer",
    beyond="closed",
    reason="load balancers wait no longer",
)
FORWARDED_CONNECTIONS = Limit(
    "forwarded-connections",
    1_000,
    "connections",
    bounds="connections into pods that port-forward holds on a node",
    beyond="refused, said on the error stream",
    reason="each is an open file",
)

# Work

REQUEST_SEATS = Limit(
    "request-seats",
    600,
    "seats",
    bounds="requests served at once, parted by FlowSchemas and PriorityLevelConfigurations",
    beyond="queued, where the level has queues",
    reason="as the API server of Kubernetes: 400 for reads and 200 for writes",
)
SEAT_WAIT_SECONDS = Limit(
    "seat-wait-seconds",
    15,
    "seconds",
    bounds="time a request waits for a seat",
    beyond="429",
    reason="a quarter of what it may take in all, as the API server of Kubernetes",
)
REQUEST_SECONDS = Limit(
    "request-seconds",
    60,
    "seconds",
    bounds="time a write takes; `timeout` asks for less",
    beyond="504",
    reason="as the API server of Kubernetes",
)
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

# Mirrors

LOOKED_AT = Limit(
    "looked-at",
    256,
    "objects",
    bounds="objects without a mirror, of at most 16 KiB, that are kept decoded",
    beyond="all are forgotten and decoded again",
    reason="service accounts of callers, each asked about with every request; 4 MiB of their bytes at most",
)
SHARED_METADATA = Limit(
    "shared-metadata",
    1_024,
    "parts",
    bounds="labels and owner references, of at most 1024 characters, that are remembered to be held once",
    beyond="all are forgotten; what is held stays",
    reason="objects with equal ones come in succession; 1 MiB of text at most",
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
STORE_PAGES = Limit(
    "store-pages",
    16 * MIB,
    "bytes",
    bounds="pages of the data file that count as memory of the process",
    beyond="the file is mapped anew",
    reason="writes read pages of the tree and those around them; all else is in the index",
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
WEBHOOK_ANSWER = Limit(
    "webhook-answer",
    32 * MIB,
    "bytes",
    bounds="answer of a webhook",
    beyond="the webhook counts as failed",
    reason="a conversion answers for all objects of a list; a page of 500 objects of 64 KiB",
)
WEBHOOK_AUTHORITIES = Limit(
    "webhook-authorities",
    64,
    "bundles",
    bounds="bundles of certificate authorities of webhooks that are kept parsed",
    beyond="all are dropped and parsed anew",
    reason="more than the webhooks of a cluster; each takes some 50 KiB",
)
AUDIT_BYTES = Limit(
    "audit-bytes",
    64 * MIB,
    "bytes",
    bounds="audit lines in memory",
    beyond="dropped, counted, said in the log",
    reason="a policy may want bodies: two of 1 MiB a line; writing takes as much again for a moment",
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

CLIENT_LISTS = Limit(
    "client-lists",
    2,
    "lists",
    bounds="lists that the client of an agent has in flight at once, one of each resource",
    beyond="they wait for their turn",
    reason="after hours without a server every mirror of every agent may have to list anew",
)
RETIRED_SECONDS = Limit(
    "retired-seconds",
    60,
    "seconds",
    bounds="life of an agent's connections once its certificate was replaced",
    beyond="idle ones are closed at once, watches at a random time within it, requests in flight at its end",
    reason="an expired certificate on an old connection is refused; jitter spreads the watches that begin anew",
)

# Aggregated APIs

API_PROBE_REASON = Limit(
    "api-probe-reason",
    1024,
    "characters",
    bounds="message of an APIService's condition about what the server behind it answered",
    beyond="cut",
    reason="a server may answer anything, and its message is stored and read by everybody",
)

EXTENSION_TRUST = Limit(
    "extension-trust",
    64 * KIB,
    "bytes",
    bounds="one value of the ConfigMap extension-apiserver-authentication that others may add to",
    beyond="replaced by this server's own",
    reason="some forty authorities; they are parsed whenever the ConfigMap changes",
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
    beyond="the oldest are dropped, and counted in the log",
    reason="a burst of some thousand pods is written in full; one takes about 2 KB",
)
EVENTS_HELD = Limit(
    "events-held",
    1_000,
    "events",
    bounds="events of one component that wait while the API does not answer",
    beyond="the oldest are dropped, and counted in the log",
    reason="as client-go's queue; 2 MB of an agent's 60, and what happened last explains what is",
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

ALLOCATION_STEPS = Limit(
    "allocation-steps",
    500_000,
    "steps",
    bounds="the search for devices of one node for a pod's resource claims",
    beyond="the attempt fails, its event says so, and it is repeated after the pod's back-off",
    reason="half a second, with turns of the loop between; a claim for 8 of 16 devices takes a millisecond",
)
POD_SELECTORS = Limit(
    "pod-selectors",
    256,
    "expressions",
    bounds="different expressions that select devices, of one pod's claims and their classes; also those kept",
    beyond="the pod is not placed, its event says why",
    reason="pods have a few; an expression and its answers may take some hundred kilobytes",
)
SELECTION_COST = Limit(
    "selection-cost",
    10_000_000,
    "units",
    bounds="dear expressions that select devices, evaluated off the loop before one attempt to place a pod",
    beyond="the attempt fails and goes on after the pod's back-off; answers are kept until the slice changes",
    reason="a second or two of the worker thread; usual expressions cost below a hundred units and are not counted",
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

# Load balancers

ARP_MESSAGES = Limit(
    "arp-messages",
    64,
    "messages",
    bounds="ARP messages of a link that a node which announces addresses reads at once",
    beyond="it rests for 10 ms, and the kernel drops what its buffer does not hold",
    reason="anybody on the link may send any number of them; 6400 a second cost a tenth of a core",
)

# Ingress

INGRESS_CONNECTIONS = Limit(
    "ingress-connections",
    8_192,
    "connections",
    bounds="connections of clients to the ingress of a node; a third of its open files, if that is less",
    beyond="takes the place of an idle one, else closed at once",
    reason="some 10 KiB each; a browser has six",
)
INGRESS_CONNECTIONS_PER_ADDRESS = Limit(
    "ingress-connections-per-address",
    2_048,
    "connections",
    bounds="connections to the ingress of a node from one IPv4 address or IPv6 /64 network; loopback: half of all",
    beyond="takes the place of an idle one of the same address, else closed at once",
    reason="one host must not use up all places, but a network behind NAT is one address",
)
INGRESS_REQUEST_HEAD = Limit(
    "ingress-request-head",
    32 * KIB,
    "bytes",
    bounds="request line and headers of a request to the ingress",
    beyond="431, closed",
    reason="four large cookies; servers behind it take 8 to 64 KiB",
)
INGRESS_REQUEST_FIELDS = Limit(
    "ingress-request-fields",
    100,
    "fields",
    bounds="headers of a request to the ingress",
    beyond="431, closed",
    reason="browsers send 20; servers behind it take 100",
)
INGRESS_HEAD_SECONDS = Limit(
    "ingress-head-seconds",
    15,
    "seconds",
    bounds="time until the head of a request to the ingress is complete, from its first byte or the connection's begin",
    beyond="closed",
    reason="a head is a few packets; whoever sends it byte by byte wants to use up the places",
)
INGRESS_IDLE_SECONDS = Limit(
    "ingress-idle-seconds",
    75,
    "seconds",
    bounds="time between two requests of a connection to the ingress",
    beyond="closed",
    reason="longer than the 60 s for which load balancers before it keep a connection",
)
INGRESS_STREAMS = Limit(
    "ingress-http2-streams",
    128,
    "streams",
    bounds="requests that a client of HTTP/2 has open on one connection",
    beyond="refused (REFUSED_STREAM)",
    reason="what browsers expect; each costs what a connection of HTTP/1.1 does",
)
INGRESS_HTTP2_HELD = Limit(
    "ingress-http2-held",
    512 * KIB,
    "bytes",
    bounds="parts of requests that a connection of HTTP/2 holds for backends that are slow, 128 KiB of one request",
    beyond="the client has to wait (flow control)",
    reason="four slow backends before the fifth request of a client waits for them",
)
INGRESS_RESETS = Limit(
    "ingress-http2-resets",
    200,
    "streams",
    bounds="streams that a connection of HTTP/2 resets, or has reset by what it sends, beyond 20 a second",
    beyond="closed (ENHANCE_YOUR_CALM)",
    reason="each is a request that was begun; browsers cancel some dozens when a page is left (CVE-2023-44487)",
)
INGRESS_CONTROL_FRAMES = Limit(
    "ingress-http2-control-frames",
    2_000,
    "frames",
    bounds="frames of HTTP/2 without content (PING, SETTINGS, empty DATA …), beyond 500 a second and two for each sent",
    beyond="closed (ENHANCE_YOUR_CALM)",
    reason="they cost their sender next to nothing; a download asks for some hundred windows a second",
)
INGRESS_RESPONSE_HEAD = Limit(
    "ingress-response-head",
    64 * KIB,
    "bytes",
    bounds="status line and headers of a response to the ingress",
    beyond="502",
    reason="twice what a request may have; cookies are set here",
)
INGRESS_KEPT_PER_ENDPOINT = Limit(
    "ingress-kept-per-endpoint",
    64,
    "connections",
    bounds="unused connections to one endpoint that the ingress keeps",
    beyond="closed after the response",
    reason="more are used at once only under load that makes new ones cheap in comparison",
)
INGRESS_ROUTES = Limit(
    "ingress-routes",
    20_000,
    "routes",
    bounds="pairs of host and path of all Ingresses",
    beyond="the youngest Ingresses are left out, and an event tells so",
    reason="some 20 MiB in each node's proxy, which compiles them within 100 ms",
)
INGRESS_ROUTES_PER_INGRESS = Limit(
    "ingress-routes-per-ingress",
    1_000,
    "routes",
    bounds="pairs of host and path of one Ingress",
    beyond="the rest is left out, and an event tells so",
    reason="one Ingress must not use up the routes of all",
)
INGRESS_SECRETS = Limit(
    "ingress-secrets",
    1_000,
    "Secrets",
    bounds="Secrets with certificates that the ingress of a node follows",
    beyond="the hosts of the youngest Ingresses get the default certificate, and an event tells so",
    reason="a watch and some 30 KiB of TLS settings each",
)
GATEWAY_ROUTES = Limit(
    "gateway-routes",
    20_000,
    "routes",
    bounds="host names times matches of all HTTPRoutes",
    beyond="the youngest HTTPRoutes are not accepted",
    reason="some 20 MiB in each node's proxy, as for Ingresses",
)
GATEWAY_ROUTES_PER_HTTP_ROUTE = Limit(
    "gateway-routes-per-httproute",
    2_000,
    "routes",
    bounds="host names times matches of one HTTPRoute",
    beyond="it is not accepted",
    reason="the schema permits 16 host names with 128 matches each; one must not use up the routes of all",
)
GATEWAY_PORTS = Limit(
    "gateway-ports",
    64,
    "ports",
    bounds="ports of the nodes that listeners of all Gateways have beside those of Ingresses",
    beyond="listeners of younger Gateways are not accepted (PortUnavailable)",
    reason="a socket on every node each; whoever may create a Gateway opens them",
)
GATEWAY_PATTERNS = Limit(
    "gateway-patterns",
    200,
    "regular expressions",
    bounds="different regular expressions in the matches of all HTTPRoutes",
    beyond="the youngest HTTPRoutes are not accepted",
    reason="each is tried for each request of its host names, and takes up to the memory of a pattern",
)
GATEWAY_MIRRORED = Limit(
    "gateway-mirrored",
    256,
    "requests",
    bounds="copies of requests (RequestMirror) that a node's proxy sends at once",
    beyond="no copy is sent",
    reason="a connection and up to 256 KiB each; nobody waits for what is mirrored",
)
GATEWAY_MIRRORED_HELD = Limit(
    "gateway-mirrored-held",
    256 * KIB,
    "bytes",
    bounds="what of a mirrored request's body waits for a backend that is slow",
    beyond="the copy is broken off, the request goes on",
    reason="a mirror must not slow down what it is a copy of",
)
INGRESS_LOG_WAITING = Limit(
    "ingress-log-waiting",
    1 * MIB,
    "bytes",
    bounds="lines of the ingress's access log that wait to be written",
    beyond="dropped",
    reason="a second of 5,000 requests; a disk that is slow must not slow down requests",
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

DNS_CONFIG_ENTRIES = Limit(
    "dns-config-entries",
    10_000,
    "entries",
    bounds="stub domains, hosts and their addresses of the ConfigMap kube-system/kube-dns",
    beyond="the settings are refused, those before stay",
    reason="some 200 bytes each",
)
DNS_SERVERS = Limit(
    "dns-servers",
    15,
    "nameservers",
    bounds="nameservers of a list in the ConfigMap kube-system/kube-dns",
    beyond="the settings are refused, those before stay",
    reason="all are asked in turn, twice, 2 s each; as many as a forward of CoreDNS",
)
DNS_REWRITES = Limit(
    "dns-rewrites",
    100,
    "rewrites",
    bounds="rewrites of the ConfigMap kube-system/kube-dns",
    beyond="the settings are refused, those before stay",
    reason="each is compared with each name that is not kept: 0.3 us",
)

DNS_PROBES = Limit(
    "dns-probes",
    1_000,
    "resolvers",
    bounds="resolvers outside that are asked whether they send questions back",
    beyond="used without being asked",
    reason="each costs one question and 300 bytes until the settings change",
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

POD_FOLLOWED_OBJECTS = Limit(
    "pod-followed-objects",
    256,
    "objects",
    bounds="ConfigMaps and Secrets in the volumes of one pod whose changes the node hears of",
    beyond="its volumes are read anew once a minute, as Kubernetes does it",
    reason="a pod of 1 MB can name 20,000; each costs a watch",
)
FOLLOWED_OBJECTS = Limit(
    "followed-objects",
    4_096,
    "objects",
    bounds="ConfigMaps and Secrets that one node follows for the volumes of all its pods",
    beyond="the volumes of the pods that came last are read anew once a minute",
    reason="110 pods with 37 each; a watch is a connection where the node is not the server's own",
)

KEPT_CONFIG = Limit(
    "kept-config",
    16 * MIB,
    "bytes",
    bounds="ConfigMaps, Secrets, claims and volumes that a node keeps for when the API does not answer, twice",
    beyond="not kept: containers that refer to them wait for the API",
    reason="ten of the largest objects; once for volumes, once for environments and pull secrets",
)

MANIFEST = Limit(
    "manifest",
    1 * MIB,
    "bytes",
    bounds="file of the manifest folder",
    beyond="not used; the log says so",
    reason="its mirror pod could not be stored if it were much larger",
)
MANIFESTS = Limit(
    "manifests",
    1000,
    "files",
    bounds="static pods of a node",
    beyond="the files last by name are not used",
    reason="nine times the pods of a node",
)
MANIFEST_FOLDER_NAMES = Limit(
    "manifest-folder-names",
    10_000,
    "names",
    bounds="names read of the manifest folder",
    beyond="the rest is not seen",
    reason="ten times the static pods",
)
UNSETTLED_FILES = Limit(
    "unsettled-files",
    10_000,
    "files",
    bounds="files of a followed folder that are being written and wait for their end",
    beyond="read at the next change",
    reason="as many as names are read of the folder",
)

DBUS_MESSAGE = Limit(
    "dbus-message",
    256 * KIB,
    "bytes",
    bounds="message of the system's bus",
    beyond="the connection is closed and made anew",
    reason="those of logind have some hundred bytes",
)
DBUS_QUEUE = Limit(
    "dbus-queue",
    64,
    "messages",
    bounds="signals of the system's bus that wait to be read",
    beyond="the connection is closed and made anew",
    reason="a shutdown is told by one",
)
DBUS_FDS = Limit(
    "dbus-fds",
    16,
    "descriptors",
    bounds="descriptors that the system's bus passes at once",
    beyond="the connection is closed and made anew",
    reason="a lock is one",
)

SIMULATED_NODES = Limit(
    "simulated-nodes",
    5000,
    "nodes",
    bounds="nodes that a server simulates",
    beyond="the server does not start",
    reason="each costs 0.3 MB, and a renewal of its lease every ten seconds",
)

SIMULATION_FILE = Limit(
    "simulation-file",
    1 * MIB,
    "bytes",
    bounds="file that says what is simulated",
    beyond="the server does not start",
    reason="a rule has some hundred bytes",
)

# Images

REGISTRIES_FILE = Limit(
    "registries-file",
    1 * MIB,
    "bytes",
    bounds="registries.yaml",
    beyond="the node does not start, and says why",
    reason="a thousand mirrors take 100 KiB",
)
MATCHED_LOGINS = Limit(
    "matched-logins",
    1_000,
    "logins",
    bounds="logins in the pull secrets of one pod that are matched with an image",
    beyond="those of the last secrets are not seen",
    reason="some 10 ms of the loop; a secret of 1 MB can hold 15,000, each with wildcards",
)
PULL_LOGINS = Limit(
    "pull-logins",
    16,
    "logins",
    bounds="logins that are tried for one pull from one registry",
    beyond="not tried; those of the longest places come first",
    reason="a secret can hold thousands, and each try asks the registry while other pods wait for their pulls",
)
CREDENTIAL_CONFIG = Limit(
    "credential-provider-config",
    1 * MIB,
    "bytes",
    bounds="a file of the configuration of credential provider plugins",
    beyond="the node does not start, and says why",
    reason="a provider takes some hundred bytes",
)
CREDENTIAL_ANSWERS = Limit(
    "credential-answers",
    1_000,
    "answers",
    bounds="answers of one credential provider plugin that are kept until they expire",
    beyond="the oldest one is asked for again",
    reason="an answer for each image, of 2 to 4 KiB with a token of a cloud",
)
PULL_TOKENS = Limit(
    "pull-tokens",
    1_000,
    "tokens",
    bounds="tokens of pods' service accounts that a node keeps for credential provider plugins",
    beyond="the oldest one is dropped, and asked for again",
    reason="one for each pod and audience, of 1 KiB",
)
PULL_SILENCE = Limit(
    "pull-silence",
    60,
    "seconds",
    bounds="time in which an engine that tells of a pull's progress may tell of none",
    beyond="the pull fails, and is retried with back-off",
    reason="as the kubelet had it: a registry that hangs would keep other pods from pulling for ever",
)
PULL_RECORDS = Limit(
    "pull-records",
    10_000,
    "records",
    bounds="images of which a node remembers by whom they were pulled",
    beyond="those that were changed longest ago are forgotten: their images count as preloaded",
    reason="a hundred times what a disk holds; a record has some KiB",
)
PULL_RECORD = Limit(
    "pull-record",
    256 * KIB,
    "bytes",
    bounds="file of such a record",
    beyond="not read: the image's logins are verified anew",
    reason="a hundred logins take 20 KiB",
)

# Usage

GROUP_FILE = Limit(
    "group-file",
    64 * KIB,
    "bytes",
    bounds="what is read of one file of a control group, and of a process's groups and interfaces",
    beyond="cut",
    reason="they have some KiB; a container names the groups and interfaces that it makes",
)
POD_INTERFACES = Limit(
    "pod-interfaces",
    16,
    "interfaces",
    bounds="network interfaces of a pod that statistics name",
    beyond="left out",
    reason="a pod has one or two; one with rights on its network can make thousands",
)
NODE_SUMMARY = Limit(
    "node-summary",
    8 * MIB,
    "bytes",
    bounds="statistics of one node that the API server reads for metrics.k8s.io",
    beyond="the node and its pods have no metrics",
    reason="110 pods of ten containers take 1 MiB",
)
NODE_SUMMARY_SECONDS = Limit(
    "node-summary-seconds",
    15,
    "seconds",
    bounds="time for the statistics of one node",
    beyond="the node and its pods have no metrics until it answers",
    reason="as long as its statistics are kept; a node measures for one second when nobody asked for long",
)
NODE_SUMMARY_WAIT_SECONDS = Limit(
    "node-summary-wait-seconds",
    5,
    "seconds",
    bounds="time that a request for metrics waits for nodes that answered last time",
    beyond="the others are shown without them",
    reason="a node that hangs is waited for once; an idle one measures for one second",
)
NODE_SUMMARIES = Limit(
    "node-summaries",
    32,
    "nodes",
    bounds="nodes whose statistics the API server reads at once",
    beyond="the others wait",
    reason="each may take 8 MiB while it is read; a round of a thousand takes a few seconds",
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
VOLUME_DEPTH = Limit(
    "volume-depth",
    256,
    "folders",
    bounds="folders in folders of a volume whose files are given to a pod's fsGroup or counted by a quota",
    beyond="the pod waits with FailedMount",
    reason="the walk holds two descriptors for each level, and a container may nest folders at will",
)
VOLUME_WALKS = Limit(
    "volume-walks",
    2,
    "volumes",
    bounds="volumes of a node whose files are given to an fsGroup at a time",
    beyond="the others wait",
    reason="each takes a thread for as long as the volume has files, and small volumes must not wait for all threads",
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
TERMINATION_LOG = Limit(
    "termination-log",
    2048,
    "bytes",
    bounds="output that stands for a termination message (FallbackToLogsOnError), of the last 80 lines",
    beyond="the last bytes are kept",
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
POD_TERMINATION_MESSAGES = Limit(
    "pod-termination-messages",
    12 * KIB,
    "bytes",
    bounds="termination messages in a pod's status together, and each message of a container that waits",
    beyond="cut, all containers alike",
    reason="as Kubernetes; a status that is too large for the store would never be written",
)

COUNTED_FILES = Limit(
    "counted-files",
    1_000_000,
    "files",
    bounds="files of one volume, log folder or writable layer whose room on disk is counted at a time",
    beyond="the rest counts for no limit of a pod; it still counts for the node's disk",
    reason="some seconds of a thread and 60 MiB; images of whole systems have a tenth of it",
)
COUNTED_PART = Limit(
    "counted-part",
    20,
    "times",
    bounds="how much longer than the last count of pods' files took the node waits for the next one",
    beyond="the next count comes later than the ten seconds of housekeeping",
    reason="counting takes no more than a twentieth of a core, however many files containers make",
)

# CSI volumes

CSI_RECORD = Limit(
    "csi-record",
    64 * KIB,
    "bytes",
    bounds="a data file beside a mounted CSI volume (vol_data.json)",
    beyond="passed over: the volume is unmounted without its driver",
    reason="a handle has 128 bytes at most, and names 253",
)
PLUGINS = Limit(
    "plugins",
    64,
    "sockets",
    bounds="plugins that register with one node",
    beyond="the others are not registered",
    reason="each is a connection, and a CSI driver an entry in the node's CSINode; nodes have a handful",
)
CSI_TOPOLOGY = Limit(
    "csi-topology",
    64,
    "labels",
    bounds="topology segments that one driver gives its node",
    beyond="the driver is not registered",
    reason="each is a label of the Node; drivers give one to three",
)
CSI_CALLS = Limit(
    "csi-calls",
    32,
    "calls",
    bounds="calls to CSI drivers of one node that are in flight",
    beyond="the others wait",
    reason="110 pods may start at once; drivers serialize by volume and slow down beyond a few",
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

NAME_LOOKUPS = Limit(
    "name-lookups",
    256,
    "lookups",
    bounds="lookups of host names in probes and hooks under way on a node; one for each pod",
    beyond="the probe fails",
    reason="a thread each, for as long as name servers are silent; more than a node has pods",
)

# Container engines

CNI_CALL = Limit(
    "cni-call",
    MIB,
    "bytes",
    bounds="environment and input of a call of the CNI plugin",
    beyond="the call fails",
    reason="a few KiB; an engine's annotations of a pod are in it at most, 256 KiB",
)
CNI_CALLS = Limit(
    "cni-calls",
    256,
    "calls",
    bounds="calls of the CNI plugin at once",
    beyond="the engine is told to try again; a DEL counts as done",
    reason="110 pods start and end at once, each with one call in flight",
)
CNI_CONFIG = Limit(
    "cni-config",
    MIB,
    "bytes",
    bounds="a network configuration of CNI; twice as much a noted connection",
    beyond="the file is left out; the connection fails",
    reason="a few KiB",
)
CNI_PLUGINS = Limit(
    "cni-plugins",
    20,
    "plugins",
    bounds="plugins of a network of CNI",
    beyond="the file is left out",
    reason="each is run for each pod; usual lists have five",
)
CNI_PLUGIN_SECONDS = Limit(
    "cni-plugin-seconds",
    60,
    "seconds",
    bounds="one run of a CNI plugin",
    beyond="it is killed, and the call fails",
    reason="some ask a server; a kubelet gives all of them two minutes",
)
CNI_CALL_SECONDS = Limit(
    "cni-call-seconds",
    10,
    "seconds",
    bounds="time to read a call of the CNI plugin, and to write its answer",
    beyond="the connection is closed",
    reason="the plugin writes all at once; its start on a loaded machine takes a second",
)

# Remote procedure calls

GRPC_MESSAGE = Limit(
    "grpc-message",
    16 * MIB,
    "bytes",
    bounds="message that an engine or a plugin sends in a gRPC call, and that is sent to it",
    beyond="the call fails with the code ResourceExhausted",
    reason="as the kubelet of Kubernetes; a list of 1,000 containers has some 500 KiB",
)
GRPC_REQUEST = Limit(
    "grpc-request",
    4 * MIB,
    "bytes",
    bounds="message that a client sends to a gRPC server of the node",
    beyond="the call fails with the code ResourceExhausted",
    reason="gRPC's default",
)
GRPC_VALUES = Limit(
    "grpc-values",
    500_000,
    "values",
    bounds="messages, list items and map entries in one decoded protobuf message",
    beyond="the call fails with the code Internal",
    reason="one of two bytes takes some 200 once decoded; a list of 1,000 containers has 30,000",
)
GRPC_HEADERS = Limit(
    "grpc-headers",
    64 * KIB,
    "bytes",
    bounds="headers or trailers of a gRPC call, encoded and decoded",
    beyond="the connection ends",
    reason="those of gRPC have some hundred bytes, and an error message that Go's servers cut at 8 KiB or less",
)
GRPC_HELD = Limit(
    "grpc-held",
    64 * MIB,
    "bytes",
    bounds="received on one gRPC connection and not yet taken by its calls",
    beyond="the call that exceeds it fails with the code ResourceExhausted",
    reason="four of the largest messages",
)
GRPC_CALLS = Limit(
    "grpc-calls",
    100,
    "calls",
    bounds="calls in progress on one connection to a gRPC server of the node",
    beyond="refused",
    reason="a plugin has one or two",
)
GRPC_CONNECTIONS = Limit(
    "grpc-connections",
    64,
    "connections",
    bounds="connections to one gRPC server of the node",
    beyond="closed at once",
    reason="one for each plugin is usual",
)
GRPC_REPLIES = Limit(
    "grpc-replies",
    1_000,
    "frames",
    bounds="answers to pings, settings and refused calls that wait until the peer of a gRPC connection reads",
    beyond="the connection ends",
    reason="a peer that reads never has more than a few",
)

# Devices

DEVICE_PLUGINS = Limit(
    "device-plugins",
    256,
    "resources",
    bounds="resources that device plugins of a node offer",
    beyond="the registration is refused",
    reason="a plugin has one resource for each type of device, and a node a few of them",
)
DEVICES = Limit(
    "devices",
    16_384,
    "devices",
    bounds="devices of one resource that a plugin lists",
    beyond="the rest is left out",
    reason="plugins that share a device list it some 1,000 times",
)
DEVICE_CHECKPOINT = Limit(
    "device-checkpoint",
    64 * MIB,
    "bytes",
    bounds="file of the allocations of devices",
    beyond="it is set aside, and containers are given devices anew",
    reason="all devices of 110 pods take far less",
)

DRA_DEVICES = Limit(
    "dra-devices",
    16_384,
    "devices",
    bounds="devices of one DRA driver whose health is known",
    beyond="the health of the others is unknown",
    reason="a ResourceSlice has 128, and a node of many partitions some thousand",
)
DRA_CLAIM_DEVICES = Limit(
    "dra-claim-devices",
    1_024,
    "devices",
    bounds="devices, and names for containers, that a DRA driver prepares for one claim",
    beyond="the claim counts as not prepared",
    reason="a claim has 32 devices at most, and a device a few names",
)
DRA_CHECKPOINT = Limit(
    "dra-checkpoint",
    64 * MIB,
    "bytes",
    bounds="file of the claims that are prepared",
    beyond="it is set aside, and the claims are prepared anew",
    reason="the claims of 110 pods take far less",
)
POD_RESOURCES_CALLS = Limit(
    "pod-resources-calls",
    100,
    "calls/s",
    bounds="calls of the pod resources API, beyond ten at once",
    beyond="refused with the code ResourceExhausted",
    reason="as the kubelet of Kubernetes; monitoring agents ask every few seconds",
)

CDI_SPEC = Limit(
    "cdi-spec",
    MIB,
    "bytes",
    bounds="one spec of the Container Device Interface",
    beyond="the spec is passed over",
    reason="that of a host with eight GPUs has some 30 KiB",
)
CDI_SPECS = Limit(
    "cdi-specs",
    256,
    "files",
    bounds="specs of the Container Device Interface that are read",
    beyond="the rest is passed over",
    reason="a vendor has one, a driver one for each prepared claim",
)

# Programs

PROGRAM_OUTPUT = Limit(
    "program-output",
    64 * MIB,
    "bytes",
    bounds="each output of a program that is run (nft, iptables)",
    beyond="the program is killed and its work counts as failed",
    reason="nft lists 10,000 services with their clients in some 20 MiB",
)

# Connections

API_CONNECTIONS = Limit(
    "api-connections",
    20_000,
    "connections",
    bounds="connections to the API, fewer where the process may open few files: half of those that are not kept",
    beyond="takes the place of an idle one, else closed at once",
    reason="a watch is a connection: 1,000 nodes with 20 each",
)
NODE_CONNECTIONS = Limit(
    "node-connections",
    2_000,
    "connections",
    bounds="connections to the node's own port; an eighth of the files that are not kept, if that is less",
    beyond="takes the place of an idle one, else closed at once",
    reason="logs, exec and port-forward into 110 pods",
)
CONNECTIONS_PER_ADDRESS = Limit(
    "connections-per-address",
    2_000,
    "connections",
    bounds="connections to the API from one IPv4 address or IPv6 /64 network, at most a quarter of all; loopback: half",
    beyond="takes the place of an idle one of the same address, else closed at once",
    reason="one host must not use up the places of all others",
)
CONNECTIONS_FOR_LOOPBACK = Limit(
    "connections-for-loopback",
    64,
    "connections",
    bounds="places beyond all others that only connections from the host itself get",
    beyond="closed at once",
    reason="an administrator on the host must get in when all places are taken",
)
DESCRIPTORS_KEPT = Limit(
    "descriptors-kept",
    2_048,
    "descriptors",
    bounds="open files kept for store, engine, volumes, DNS and probes; at most a quarter of what the host allows",
    beyond="connections are refused first",
    reason="110 pods with 10 probes and streams each",
)
HANDSHAKES = Limit(
    "handshakes",
    512,
    "connections",
    bounds="TLS handshakes under way on one port",
    beyond="the oldest of the address with the most is closed",
    reason="a handshake needs a few turns of the loop and ends within seconds",
)
HANDSHAKES_PER_ADDRESS = Limit(
    "handshakes-per-address",
    128,
    "connections",
    bounds="TLS handshakes under way from one remote address; loopback may have all",
    beyond="the oldest is closed",
    reason="half-open connections of one host must keep no other out",
)
HANDSHAKE_SECONDS = Limit(
    "handshake-seconds",
    10,
    "seconds",
    bounds="time of a TLS handshake",
    beyond="closed",
    reason="ten times what a slow link needs",
)
HEAD_SECONDS = Limit(
    "head-seconds",
    32,
    "seconds",
    bounds="time until a head is complete, from its first byte or from the connection's begin",
    beyond="closed",
    reason="as the API server of Kubernetes",
)
IDLE_SECONDS = Limit(
    "idle-seconds",
    120,
    "seconds",
    bounds="time between two requests of a connection",
    beyond="closed",
    reason="longer than the 90 s for which Go's clients keep a connection",
)
REQUEST_HEAD = Limit(
    "request-head",
    128 * KIB,
    "bytes",
    bounds="request line and headers together, and trailers",
    beyond="431, closed",
    reason="long selectors, continue tokens and bearer tokens fit many times; Kubernetes takes 1 MiB",
)
REQUEST_FIELDS = Limit(
    "request-fields",
    128,
    "fields",
    bounds="headers of a request",
    beyond="431, closed",
    reason="kubectl sends 8, proxies add a dozen",
)
PIPELINED = Limit(
    "pipelined-requests",
    3,
    "requests",
    bounds="requests of one connection that were read and wait for the one before",
    beyond="not read from the connection",
    reason="no client of Kubernetes sends a request before the last was answered",
)
HELD_ALWAYS = Limit(
    "held-always",
    16 * KIB,
    "bytes",
    bounds="heads and unread bodies (as held in memory) that any connection may hold",
    beyond="counts for the address and for all",
    reason="an ordinary request holds 4 KiB, and must get through whatever others do",
)
HELD_PER_ADDRESS = Limit(
    "held-per-address",
    32 * MIB,
    "bytes",
    bounds="what connections from one address hold beyond that; loopback: half of what all may",
    beyond="the connection that brings more is closed",
    reason="a hundred large requests at once",
)
HELD_TOTAL = Limit(
    "held-total",
    256 * MIB,
    "bytes",
    bounds="what all connections to one port hold beyond that",
    beyond="the connection that brings more is closed",
    reason="a fraction of the memory of the smallest machine",
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
ENGINE_REFUSALS = Limit(
    "engine-refusals",
    1000,
    "containers",
    bounds="refused starts that are remembered of an engine that forgets them (Podman)",
    beyond="the oldest counts as never started, and is started once more without back-off",
    reason="a pod keeps few refused containers; each takes a text of at most 1 KiB",
)
ENGINE_LOG = Limit(
    "engine-log",
    16 * MIB,
    "bytes",
    bounds="log of an engine that kubelite started, looked at every ten minutes",
    beyond="its newest half is kept as docker.log.1, the rest dropped",
    reason="days of an engine; it lies in memory on most hosts",
)
ENGINE_STREAM_ANSWER = Limit(
    "engine-stream-answer",
    64 * KIB,
    "bytes",
    bounds="text with which the engine refuses an exec or attach",
    beyond="cut",
    reason="a line or two; it becomes part of a Status",
)
ENGINE_STREAM_STATUS = Limit(
    "engine-stream-status",
    64 * KIB,
    "bytes",
    bounds="status that an engine sends at the end of an exec or attach",
    beyond="the exec or attach counts as failed",
    reason="a line or two of the engine or its low-level runtime",
)
STREAM_IDLE_SECONDS = Limit(
    "stream-idle-seconds",
    4 * 3600,
    "seconds",
    bounds="time in which an exec or attach carries nothing, and in which a peer of a relayed stream takes nothing",
    beyond="closed; the process goes on",
    reason="as the kubelet's streaming-connection-idle-timeout",
)
STREAM_FLUSH_SECONDS = Limit(
    "stream-flush-seconds",
    5,
    "seconds",
    bounds="time for what is still to be written on a stream that was closed",
    beyond="dropped",
    reason="a slow link takes the 64 KiB of a buffer; a peer that reads nothing would keep it for ever",
)
STREAM_ENDING_SECONDS = Limit(
    "stream-ending-seconds",
    10,
    "seconds",
    bounds="time in which nothing more comes of a log, exec or attach whose container has ended",
    beyond="the stream is ended as if the engine had ended it",
    reason="the engine closes streams as a container ends; its own copying stops within as long",
)
EXEC_PROCESSES = Limit(
    "exec-processes",
    10_000,
    "processes",
    bounds="processes that a command that timed out has started, and that are killed with it",
    beyond="left until the container ends",
    reason="more than a container may have on most hosts; a fork bomb must not hold the node",
)
LOG_FRAME = Limit(
    "log-frame",
    1 * MIB,
    "bytes",
    bounds="one entry of a log as the engine sends it",
    beyond="the log breaks off",
    reason="the engine's entries have 16 KiB",
)
LOG_FILES = Limit(
    "log-files",
    1_000,
    "files",
    bounds="names in the folder of a container's logs that are looked at",
    beyond="the others are neither read nor rotated away",
    reason="five files of each of a few runs; a pod that has the host's logs mounted can make any number",
)
LOG_SEARCH = Limit(
    "log-search",
    1024 * MIB,
    "bytes",
    bounds="end of a log that is searched for its last lines",
    beyond="the log is shown from there on",
    reason="twenty times what the files of a container hold by default",
)
LOG_PIECE = Limit(
    "log-piece",
    256 * KIB,
    "bytes",
    bounds="what is kept of one line of a log file until its end has come",
    beyond="the line is passed on in pieces",
    reason="engines cut lines at 16 KiB unless they were told not to",
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
FORWARDED_PAIRS = Limit(
    "forwarded-pairs",
    500,
    "connections",
    bounds="connections into a pod that one client of port-forward has open or begun",
    beyond="the stream is reset",
    reason="half of what a node forwards in all",
)

# Joining

JOIN_ANSWER = Limit(
    "join-answer",
    256 * KIB,
    "bytes",
    bounds="answer of a server that has not proved itself yet to the question for its CA certificates",
    beyond="the agent does not join",
    reason="a hundred certificates; a cluster has one, and one more for each rotation of its CA",
)
JOIN_SECONDS = Limit(
    "join-seconds",
    10,
    "seconds",
    bounds="connection to a server to join, handshake and answer included",
    beyond="the next server, or the same one later",
    reason="as for any connection to the API; a server that does not prove itself must not hold the agent",
)
CERTIFICATE_WAIT = Limit(
    "certificate-wait",
    900,
    "seconds",
    bounds="wait for the decision on a certificate that a node requested",
    beyond="requested again",
    reason="as the kubelet's; the cluster decides in milliseconds, an administrator in minutes",
)

# Ephemeral clusters

CLUSTER_AGENTS = Limit(
    "cluster-agents",
    50,
    "nodes",
    bounds="agents of an ephemeral cluster",
    beyond="the cluster is not made",
    reason="each is a process and an engine of 120 MB; simulated nodes are for larger clusters",
)

CLUSTER_CONNECTIONS = Limit(
    "cluster-connections",
    1000,
    "connections",
    bounds="connections through one published port of an ephemeral cluster",
    beyond="the connection is closed",
    reason="each holds two buffers and two descriptors of the 4096 that a process may have",
)

# Add-ons

ADDON_FILE = Limit(
    "addon-file",
    16 * MIB,
    "bytes",
    bounds="file of server/manifests",
    beyond="not applied; its objects stay as they are, its ConfigMap says so",
    reason="four times the definitions of the largest operators",
)
ADDON_OBJECTS = Limit(
    "addon-objects",
    5000,
    "objects",
    bounds="objects of one file of server/manifests",
    beyond="not applied; its objects stay as they are, its ConfigMap says so",
    reason="ten times the largest releases in one file",
)
ADDON_FILES = Limit(
    "addon-files",
    1000,
    "files",
    bounds="files of server/manifests",
    beyond="the files last by name are not applied, and nothing is pruned",
    reason="far more than anyone keeps; each has a ConfigMap",
)
ADDON_FOLDER_NAMES = Limit(
    "addon-folder-names",
    10_000,
    "names",
    bounds="names read of server/manifests",
    beyond="the rest is not seen, and nothing is pruned",
    reason="ten times the files",
)

# Snapshots in a bucket

BUCKET_UPLOAD = Limit(
    "bucket-upload",
    5 * 1024 * MIB,
    "bytes",
    bounds="a snapshot that is put into a bucket, or read from one",
    beyond="it stays on this machine only, and the log says so; one that is larger there is not restored",
    reason="one request of S3 takes no more; a cluster of a million objects has a tenth",
)
BUCKET_ANSWER = Limit(
    "bucket-answer",
    4 * MIB,
    "bytes",
    bounds="answer of a bucket other than a snapshot",
    beyond="the call fails",
    reason="a page of a thousand names has some 400 KiB",
)
BUCKET_OBJECTS = Limit(
    "bucket-objects",
    100_000,
    "objects",
    bounds="snapshots in the folder of a bucket",
    beyond="the list fails",
    reason="one an hour for eleven years",
)
BUCKET_SECONDS = Limit(
    "bucket-seconds",
    60,
    "seconds",
    bounds="wait for a bucket to connect, or for its next bytes",
    beyond="the call fails, and is made again at the next snapshot",
    reason="as that of minio's client for the answer's head",
)
SNAPSHOT_SECONDS = Limit(
    "snapshot-seconds",
    3600,
    "seconds",
    bounds="a scheduled snapshot, its way into the bucket included",
    beyond="it is broken off, and the next one is taken at its time",
    reason="a gigabyte over a slow line",
)
