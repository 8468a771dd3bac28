"""The mandatory and suggested flow schemas and priority levels of Kubernetes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.caller import AUTHENTICATED, SYSTEM_MASTERS, UNAUTHENTICATED
from kubelite.api.kinds.flowcontrol import (
    ExemptPriorityLevelConfiguration,
    FlowDistinguisherMethod,
    FlowSchema,
    FlowSchemaSpec,
    GroupSubject,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
    ResourcePolicyRule,
    ServiceAccountSubject,
    Subject,
    UserSubject,
)
from kubelite.api.kinds.meta import ObjectMeta

Item = TypeVar("Item", FlowSchema, PriorityLevelConfiguration)

EXEMPT, CATCH_ALL = "exempt", "catch-all"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
ANNOTATIONS = {AUTOUPDATE: "true"}
ALL = ["*"]
LEASES = "coordination.k8s.io"
PROBES = NonResourcePolicyRule(verbs=["get"], nonResourceURLs=["/healthz", "/readyz", "/livez"])
EVERY_RESOURCE = ResourcePolicyRule(
    verbs=ALL, apiGroups=ALL, resources=ALL, namespaces=ALL, clusterScope=True
)
EVERY_PATH = NonResourcePolicyRule(verbs=ALL, nonResourceURLs=ALL)


class Level(Struct, frozen=True):
    """One row of the levels: shares of all seats, lendable percent, and queues (0: it rejects)."""

    name: str
    shares: int
    lendable_percent: int
    queues: int = 0
    hand_size: int = 0


class Flow(Struct, frozen=True):
    """One row of the flows: its subjects (`groups`, `users`, accounts of kube-system) and their level."""

    name: str
    level: str
    precedence: int
    distinguisher: str = ""
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    system_accounts: bool = False
    resources: tuple[ResourcePolicyRule, ...] = (EVERY_RESOURCE,)
    paths: tuple[NonResourcePolicyRule, ...] = (EVERY_PATH,)


LEVELS = (
    Level("catch-all", 5, 0),
    Level("system", 30, 33, 64, 6),
    Level("node-high", 40, 25, 64, 6),
    Level("leader-election", 10, 0, 16, 4),
    Level("workload-high", 40, 50, 128, 6),
    Level("workload-low", 100, 90, 128, 6),
    Level("global-default", 20, 50, 128, 6),
)
QUEUE_LENGTH_LIMIT = 50
EVERYBODY = (UNAUTHENTICATED, AUTHENTICATED)
NODES = ("system:nodes",)
CONTROLLER_MANAGER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"

FLOWS = (
    Flow("exempt", "exempt", 1, groups=(SYSTEM_MASTERS,)),
    Flow("probes", "exempt", 2, groups=EVERYBODY, resources=(), paths=(PROBES,)),
    Flow(
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        users=(CONTROLLER_MANAGER, SCHEDULER),
        system_accounts=True,
        resources=(
            ResourcePolicyRule(
                verbs=["get", "create", "update"],
                apiGroups=[LEASES],
                resources=["leases"],
                namespaces=ALL,
            ),
        ),
        paths=(),
    ),
    Flow(
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        groups=NODES,
        resources=(
            ResourcePolicyRule(
                verbs=ALL,
                apiGroups=[""],
                resources=["nodes", "nodes/status"],
                namespaces=ALL,
                clusterScope=True,
            ),
            ResourcePolicyRule(verbs=ALL, apiGroups=[LEASES], resources=["leases"], namespaces=ALL),
        ),
        paths=(),
    ),
    Flow("system-nodes", "system", 500, "ByUser", groups=NODES),
    Flow(
        "kube-controller-manager", "workload-high", 800, "ByNamespace", users=(CONTROLLER_MANAGER,)
    ),
    Flow("kube-scheduler", "workload-high", 800, "ByNamespace", users=(SCHEDULER,)),
    Flow("kube-system-service-accounts", "workload-high", 900, "ByNamespace", system_accounts=True),
    Flow("service-accounts", "workload-low", 9000, "ByUser", groups=("system:serviceaccounts",)),
    Flow("global-default", "global-default", 9900, "ByUser", groups=EVERYBODY),
    Flow("catch-all", "catch-all", 10000, "ByUser", groups=EVERYBODY),
)


def priority_levels() -> Sequence[PriorityLevelConfiguration]:
    """Return the bootstrap levels as API objects."""
    exempt = PriorityLevelConfiguration(
        metadata=ObjectMeta(name="exempt", annotations=ANNOTATIONS),
        spec=PriorityLevelConfigurationSpec(
            type="Exempt",
            exempt=ExemptPriorityLevelConfiguration(nominalConcurrencyShares=0, lendablePercent=0),
        ),
    )
    return (exempt, *(_level(row) for row in LEVELS))


def flow_schemas() -> Sequence[FlowSchema]:
    """Return the bootstrap flow schemas as API objects."""
    return tuple(_flow(row) for row in FLOWS)


def mandatory(items: Iterable[Item]) -> list[Item]:
    """Return the mandatory ones (exempt and catch-all), which apply whatever the stored objects say."""
    return [item for item in items if item.metadata.name in (EXEMPT, CATCH_ALL)]


def maintained(stored: Item, standard: Item) -> Item:
    """Return a stored object with this version's spec; unchanged if it is optional and not marked for auto-update."""
    is_mandatory = standard.metadata.name in (EXEMPT, CATCH_ALL)
    if not is_mandatory and stored.metadata.annotations.get(AUTOUPDATE) != "true":
        return stored
    return replace(stored, spec=standard.spec)


def _level(row: Level) -> PriorityLevelConfiguration:
    queuing = QueuingConfiguration(
        queues=row.queues, handSize=row.hand_size, queueLengthLimit=QUEUE_LENGTH_LIMIT
    )
    response = (
        LimitResponse(type="Queue", queuing=queuing) if row.queues else LimitResponse(type="Reject")
    )
    return PriorityLevelConfiguration(
        metadata=ObjectMeta(name=row.name, annotations=ANNOTATIONS),
        spec=PriorityLevelConfigurationSpec(
            type="Limited",
            limited=LimitedPriorityLevelConfiguration(
                nominalConcurrencyShares=row.shares,
                lendablePercent=row.lendable_percent,
                limitResponse=response,
            ),
        ),
    )


def _flow(row: Flow) -> FlowSchema:
    method = FlowDistinguisherMethod(type=row.distinguisher) if row.distinguisher else None
    rules = PolicyRulesWithSubjects(
        subjects=list(_subjects(row)),
        resourceRules=list(row.resources),
        nonResourceRules=list(row.paths),
    )
    return FlowSchema(
        metadata=ObjectMeta(name=row.name, annotations=ANNOTATIONS),
        spec=FlowSchemaSpec(
            priorityLevelConfiguration=PriorityLevelConfigurationReference(name=row.level),
            matchingPrecedence=row.precedence,
            distinguisherMethod=method,
            rules=[rules],
        ),
    )


def _subjects(row: Flow) -> Iterator[Subject]:
    for name in row.users:
        yield Subject(kind="User", user=UserSubject(name=name))
    for name in row.groups:
        yield Subject(kind="Group", group=GroupSubject(name=name))
    if row.system_accounts:
        account = ServiceAccountSubject(name="*", namespace="kube-system")
        yield Subject(kind="ServiceAccount", serviceAccount=account)
