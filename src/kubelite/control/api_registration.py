"""Registers the group versions this server serves itself as APIServices, so that clients find all in one list.

Those of built-in kinds are registered always, those of custom resources while a definition serves the version. A user
who registers a server of his own for a group version leaves out the label of these, or removes it; such an APIService
is left alone, and the local one comes back when it is deleted.

Source: kube-aggregator's auto-registration and kube-apiserver's controller crdregistration. Unlike there, what is
deleted or changed of a built-in group version is put right at once and not with the next start.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.errors import AlreadyExists, Conflict, NotFound
from kubelite.api.kinds.apiregistration import APIService, APIServiceSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.definitions import Definition
from kubelite.control.runtime import Context, Key, Watch

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"  # values of the label: built in, or of a custom resource
CUSTOM_GROUP_PRIORITY, CUSTOM_VERSION_PRIORITY = 1000, 100
# By group and version: the priorities of the group and, within it, of the version; clients prefer the greater. The
# group of APIServices itself is not registered.
PRIORITIES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("", "v1"): (18000, 1),
    ("apps", "v1"): (17800, 15),
    ("events.k8s.io", "v1"): (17750, 15),
    ("authentication.k8s.io", "v1"): (17700, 15),
    ("authorization.k8s.io", "v1"): (17600, 15),
    ("autoscaling", "v1"): (17500, 15),
    ("autoscaling", "v2"): (17500, 30),
    ("batch", "v1"): (17400, 15),
    ("certificates.k8s.io", "v1"): (17300, 15),
    ("networking.k8s.io", "v1"): (17200, 15),
    ("policy", "v1"): (17100, 15),
    ("rbac.authorization.k8s.io", "v1"): (17000, 15),
    ("storage.k8s.io", "v1"): (16800, 15),
    ("apiextensions.k8s.io", "v1"): (16700, 15),
    ("admissionregistration.k8s.io", "v1"): (16700, 15),
    ("scheduling.k8s.io", "v1"): (16600, 15),
    ("coordination.k8s.io", "v1"): (16500, 15),
    ("node.k8s.io", "v1"): (16300, 15),
    ("discovery.k8s.io", "v1"): (16200, 15),
    ("resource.k8s.io", "v1"): (16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1"): (16100, 21),
}


METRICS = (("metrics.k8s.io", "v1beta1"), (100, 100))  # as metrics-server registers itself


class Registration(Struct, frozen=True):
    """An APIService that is wanted."""

    spec: APIServiceSpec
    label: str
    gives_way: bool = False  # whether one with a Service is left alone, whatever its labels


class Decision(Struct, frozen=True):
    """The one write that is due."""

    verb: Literal["create", "update", "delete"]
    service: APIService


def _built_in(*, serves_metrics: bool) -> dict[str, Registration]:
    """Return the registrations by name; the core group's name ends with a dot."""
    found = {
        f"{version}.{group}": Registration(_spec(group, version, *priorities), ON_START)
        for (group, version), priorities in PRIORITIES.items()
    }
    if serves_metrics:
        # The manifest of metrics-server, applied on top of ours, keeps the label that says whose it is.
        (group, version), priorities = METRICS
        spec = _spec(group, version, *priorities)
        found[f"{version}.{group}"] = Registration(spec, ON_START, gives_way=True)
    return found


def _spec(group: str, version: str, group_priority: int, version_priority: int) -> APIServiceSpec:
    return APIServiceSpec(
        group=group,
        version=version,
        groupPriorityMinimum=group_priority,
        versionPriority=version_priority,
    )


def custom(name: str) -> Registration:
    """Return the registration of a group version of custom resources, by its name ``version.group``."""
    version, _, group = name.partition(".")
    spec = _spec(group, version, CUSTOM_GROUP_PRIORITY, CUSTOM_VERSION_PRIORITY)
    return Registration(spec, ALWAYS)


def plan(
    name: str, wanted: Registration | None, service: APIService | None, *, is_leftover: bool
) -> Decision | None:
    """Decide on one APIService; None: it is right, or somebody else's.

    `is_leftover`: it was there at the start, so an earlier version of this server may have registered it.
    """
    if service is None:
        if wanted is None:
            return None
        meta = ObjectMeta(name=name, labels={MANAGED: wanted.label})
        return Decision("create", APIService(metadata=meta, spec=wanted.spec))
    label = service.metadata.labels.get(MANAGED)
    if label not in (ON_START, ALWAYS) or service.metadata.deletionTimestamp is not None:
        return None
    if wanted is not None and wanted.gives_way and service.spec.service is not None:
        return None
    if wanted is None:
        is_ours = label == ALWAYS or is_leftover
        return Decision("delete", service) if is_ours else None
    if service.spec == wanted.spec:
        return None
    return Decision("update", replace(service, spec=wanted.spec))


class APIRegistration:
    """Reconciles the APIServices of what this server serves itself; a key is the name of one."""

    name = "apiservice-registration"
    identity = "system:apiserver"  # upstream does it in the API server
    workers = 4

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.mirror(APIService)
        self._built_in = _built_in(serves_metrics=context.options.serves_metrics)
        self._served: dict[str, set[str]] = {}  # definitions by the registrations they need
        self._leftovers: frozenset[str] | None = None  # None: nothing is reconciled yet
        context.follow(Definition, self._changed)
        for name in self._built_in:  # an absent one has no event that would enqueue it
            context.queue.add(Key("", name))

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all APIServices, and the definitions whose versions they stand for."""
        return (Watch(APIService), Watch(Definition, _keys, where=_serves_others))

    def _changed(self, before: Definition | None, after: Definition | None) -> None:
        """Keep the group versions served; a thousand definitions are not looked through for each that changes."""
        for name in _names(before):
            definitions = self._served.get(name, set())
            definitions.discard(before.metadata.name if before is not None else "")
            if not definitions:
                self._served.pop(name, None)
        for name in _names(after):
            assert after is not None
            self._served.setdefault(name, set()).add(after.metadata.name)

    async def reconcile(self, key: Key) -> float | None:
        """Create, correct or delete one APIService."""
        if self._leftovers is None:
            self._leftovers = frozenset(
                one.metadata.name
                for one in self._services.list()
                if one.metadata.labels.get(MANAGED) == ON_START
                and one.metadata.name not in self._built_in
            )
        decided = plan(
            key.name,
            self._wanted(key.name),
            self._services.get(key.name),
            is_leftover=key.name in self._leftovers,
        )
        if decided is None:
            return None
        try:
            await self._write(decided)
        except (AlreadyExists, Conflict, NotFound):
            return None  # written or deleted meanwhile, which enqueues it again
        return None

    def _wanted(self, name: str) -> Registration | None:
        found = self._built_in.get(name)
        return custom(name) if found is None and name in self._served else found

    async def _write(self, decided: Decision) -> None:
        service = decided.service
        if decided.verb == "create":
            await self._client.create(service)
        elif decided.verb == "update":
            await self._client.update(service)
        else:
            metadata = service.metadata
            await self._client.delete(APIService, metadata.name, uid=metadata.uid)


def _names(definition: Definition | None) -> Sequence[str]:
    """Return the names of the APIServices that a definition needs."""
    if definition is None:
        return ()
    spec = definition.spec
    return [f"{version.name}.{spec.group}" for version in spec.versions if version.served]


def _keys(definition: Definition) -> Iterable[Key]:
    return (Key("", name) for name in _names(definition))


def _serves_others(before: Definition | None, after: Definition | None) -> bool:
    return _names(before) != _names(after)
