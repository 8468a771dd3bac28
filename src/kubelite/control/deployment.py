"""Rolls out Deployments: one ReplicaSet for each revision of the template, scaled up and down step by step."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import AlreadyExists, APIError, NotFound
from kubelite.api.kinds.apps import Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec
from kubelite.api.kinds.core.pods import Pod, PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.machinery.numbers import integer
from kubelite.control import conditions
from kubelite.control.deployment_status import (
    PROGRESSING,
    TIMED_OUT,
    condition,
    counts,
    is_complete,
    progress_deadline,
    rollout_status,
    seconds_to_deadline,
)
from kubelite.control.ownership import (
    CONTROLLER_INDEX,
    controlled_by,
    controller_of,
    controller_reference,
    controller_uid,
    orphan_in,
    owned_by,
)
from kubelite.control.pods import is_terminal, pod_weight
from kubelite.control.rollout import (
    DESIRED,
    MAXIMUM,
    annotated_number,
    is_rolling,
    max_surge,
    new_set_size,
    old_set_sizes,
    proportional_sizes,
    wanted_replicas,
)
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import matcher
from kubelite.control.selector_index import SelectorIndex
from kubelite.randomness import SUFFIX_ALPHABET
from kubelite.tasks import in_slices

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_MAX = 2**63 - 1  # Kubernetes counts in 64 bits
HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LIMIT_CHARACTERS = 2000
NAME_LIMIT = 253
SET_COST_BYTES = 60  # cost of a set in a plan, for the offload: about twenty microseconds
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
    }
)


class Change(Struct, frozen=True):
    """The new size, annotations and minReadySeconds of one ReplicaSet."""

    name: str
    size: int
    annotations: Mapping[str, str]
    min_ready_seconds: int


class Plan(Struct, frozen=True):
    """The writes of one step of a rollout."""

    status: DeploymentStatus
    create: ReplicaSet | None = None
    changes: tuple[Change, ...] = ()
    delete: tuple[str, ...] = ()
    revision: str = ""


def template_hash(template: PodTemplateSpec, collisions: int | None) -> str:
    """Return the pod-template-hash of a template: equal for equal templates, whatever the order of their maps.

    `collisions` is the status' collisionCount, which salts the hash.
    """
    encoded = msgspec.json.encode(template, order="deterministic")
    digest = blake2b(encoded, digest_size=4, salt=(collisions or 0).to_bytes(8, "big")).digest()
    text = str(int.from_bytes(digest, "big"))
    return "".join(SUFFIX_ALPHABET[ord(digit) % len(SUFFIX_ALPHABET)] for digit in text)


def same_template(one: PodTemplateSpec, other: PodTemplateSpec) -> bool:
    """Return whether two templates are equal apart from the pod-template-hash label."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH_LABEL}
    return replace(template, metadata=replace(template.metadata, labels=labels))


def newest_set(deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """Return the set that has the deployment's template; the oldest if there are several."""
    same = [one for one in sets if same_template(one.spec.template, deployment.spec.template)]
    return min(
        same, key=lambda one: (one.metadata.creationTimestamp, one.metadata.name), default=None
    )


def plan(
    deployment: Deployment, sets: Sequence[ReplicaSet], old_pods_running: bool, now: datetime
) -> Plan:
    """Decide the next step.

    `sets` are all sets that the deployment owns. `old_pods_running` matters for the strategy Recreate only: it creates
    the new set once no pod of an old one is left.
    """
    newest = newest_set(deployment, sets)
    old = [one for one in sets if newest is None or one.metadata.uid != newest.metadata.uid]
    if deployment.metadata.deletionTimestamp is not None:
        return Plan(status=counts(deployment, sets, newest, now))
    if deployment.spec.paused or _was_scaled(deployment, sets):
        return _scaling(deployment, newest, old, now)
    status = rollout_status(deployment, sets, newest, now)
    if is_rolling(deployment):
        return _rolling(deployment, newest, old, status, now)
    return _recreate(deployment, newest, old, status, old_pods_running, now)


def _was_scaled(deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
    """Return whether the deployment's replicas changed since the sets were sized."""
    wanted = wanted_replicas(deployment)
    return any(
        wanted_replicas(one) > 0 and annotated_number(one, DESIRED) not in {None, wanted}
        for one in sets
    )


def _scaling(
    deployment: Deployment, newest: ReplicaSet | None, old: Sequence[ReplicaSet], now: datetime
) -> Plan:
    sets = [*old, newest] if newest else list(old)
    active = [one for one in sets if wanted_replicas(one) > 0]
    wanted = wanted_replicas(deployment)
    sizes: dict[str, int] = {}
    if len(active) <= 1:
        latest = active[0] if active else newest or max(old, key=_revision, default=None)
        if latest is not None:
            sizes[latest.metadata.name] = wanted
    elif newest is not None and _is_saturated(deployment, newest):
        sizes = {one.metadata.name: 0 for one in active if one is not newest}
    elif is_rolling(deployment):
        sizes = proportional_sizes(deployment, active)
    status = _with_pause(deployment, counts(deployment, sets, newest, now), now)
    revision = newest.metadata.annotations.get(REVISION, "") if newest else ""
    return Plan(
        status=status,
        changes=_changes(deployment, sets, sizes, newest, _next_revision(old)),
        delete=_surplus_history(deployment, old) if deployment.spec.paused else (),
        revision=revision,
    )


def _is_saturated(deployment: Deployment, one: ReplicaSet) -> bool:
    wanted = wanted_replicas(deployment)
    return (
        wanted_replicas(one) == wanted
        and annotated_number(one, DESIRED) == wanted
        and one.status.availableReplicas == wanted
    )


def _with_pause(
    deployment: Deployment, status: DeploymentStatus, now: datetime
) -> DeploymentStatus:
    """Return the status with a condition for a pause or its end: paused time is no lack of progress."""
    current = conditions.find(status.conditions, PROGRESSING)
    if progress_deadline(deployment) is None or (current and current.reason == TIMED_OUT):
        return status
    noted = current is not None and current.reason == "DeploymentPaused"
    if deployment.spec.paused == noted:
        return status
    fresh = (
        condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now)
        if deployment.spec.paused
        else condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    )
    return replace(status, conditions=conditions.put(status.conditions, fresh))


def _rolling(
    deployment: Deployment,
    newest: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    status: DeploymentStatus,
    now: datetime,
) -> Plan:
    if newest is None:
        return _creation(deployment, old, status, now)
    sets = [*old, newest]
    size = wanted_replicas(newest)
    new_size = new_set_size(deployment, sets, size)
    sizes = {newest.metadata.name: new_size} if new_size != size else {}
    if not sizes:
        sizes = old_set_sizes(deployment, [one for one in old if wanted_replicas(one) > 0], newest)
    return _step(deployment, newest, old, sizes, status, now)


def _recreate(
    deployment: Deployment,
    newest: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    status: DeploymentStatus,
    old_pods_running: bool,
    now: datetime,
) -> Plan:
    running = [one for one in old if wanted_replicas(one) > 0]
    if running:
        sizes = {one.metadata.name: 0 for one in running}
        changes = _changes(deployment, running, sizes, newest, _next_revision(old))
        return Plan(status=_with_pause(deployment, status, now), changes=changes)
    if old_pods_running or any(one.status.replicas for one in old):
        return Plan(status=_with_pause(deployment, status, now))
    if newest is None:
        return _creation(deployment, old, status, now)
    sizes = {newest.metadata.name: wanted_replicas(deployment)}
    return _step(deployment, newest, old, sizes, status, now)


def _step(
    deployment: Deployment,
    newest: ReplicaSet,
    old: Sequence[ReplicaSet],
    sizes: Mapping[str, int],
    status: DeploymentStatus,
    now: datetime,
) -> Plan:
    revision = _next_revision(old)
    annotations = new_annotations(deployment, newest, revision)
    if progress_deadline(deployment) and conditions.find(status.conditions, PROGRESSING) is None:
        message = f'Found new replica set "{newest.metadata.name}"'
        found = condition(PROGRESSING, "True", "FoundNewReplicaSet", message, now)
        status = replace(status, conditions=conditions.put(status.conditions, found))
    return Plan(
        status=_with_pause(deployment, status, now),
        changes=_changes(deployment, [*old, newest], sizes, newest, revision),
        delete=_surplus_history(deployment, old)
        if is_complete(deployment, deployment.status)
        else (),
        revision=annotations.get(REVISION, ""),
    )


def _creation(
    deployment: Deployment, old: Sequence[ReplicaSet], status: DeploymentStatus, now: datetime
) -> Plan:
    created = new_set(deployment, old)
    if progress_deadline(deployment) is not None:
        message = f'Created new replica set "{created.metadata.name}"'
        found = condition(PROGRESSING, "True", "NewReplicaSetCreated", message, now)
        status = replace(status, conditions=conditions.put(status.conditions, found))
    return Plan(
        status=status, create=created, revision=created.metadata.annotations.get(REVISION, "")
    )


def new_set(deployment: Deployment, old: Sequence[ReplicaSet]) -> ReplicaSet:
    """Return the set to create for the deployment's current template."""
    spec, meta = deployment.spec, deployment.metadata
    digest = template_hash(spec.template, deployment.status.collisionCount)
    labels = {**spec.template.metadata.labels, HASH_LABEL: digest}
    selector = spec.selector or LabelSelector()
    bare = ReplicaSet(
        metadata=ObjectMeta(
            name=f"{meta.name[: NAME_LIMIT - 1 - len(digest)]}-{digest}",
            namespace=meta.namespace,
            labels=labels,
            ownerReferences=[controller_reference(deployment)],
        )
    )
    annotations = {
        **new_annotations(deployment, bare, _next_revision(old)),
        **_size_annotations(deployment),
    }
    return replace(
        bare,
        metadata=replace(bare.metadata, annotations=annotations),
        spec=ReplicaSetSpec(
            replicas=new_set_size(deployment, old, 0),
            minReadySeconds=spec.minReadySeconds,
            selector=replace(selector, matchLabels={**selector.matchLabels, HASH_LABEL: digest}),
            template=replace(
                spec.template, metadata=replace(spec.template.metadata, labels=labels)
            ),
        ),
    )


def new_annotations(deployment: Deployment, one: ReplicaSet, revision: int) -> dict[str, str]:
    """Return the newest set's annotations: its own, those of the deployment, its revision and earlier revisions."""
    annotations = dict(one.metadata.annotations)
    given = deployment.metadata.annotations
    annotations |= {key: value for key, value in given.items() if key not in NOT_COPIED}
    before = annotations.get(REVISION, "")
    known = integer(before or "0")
    if known is None:
        return annotations
    if known < revision:
        annotations[REVISION] = str(revision)
        if before:
            history = [*filter(None, annotations.get(HISTORY, "").split(",")), before]
            annotations[HISTORY] = _newest_revisions(history)
    return annotations


def _newest_revisions(history: Sequence[str]) -> str:
    """Return the newest revisions, joined by commas, that fit in HISTORY_LIMIT_CHARACTERS; the newest is last."""
    text = ",".join(history)[-HISTORY_LIMIT_CHARACTERS - 1 :]
    return text if len(text) <= HISTORY_LIMIT_CHARACTERS else text.partition(",")[2]


def _size_annotations(deployment: Deployment) -> dict[str, str]:
    wanted = wanted_replicas(deployment)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + max_surge(deployment))}


def _changes(
    deployment: Deployment,
    sets: Iterable[ReplicaSet],
    sizes: Mapping[str, int],
    newest: ReplicaSet | None,
    revision: int,
) -> tuple[Change, ...]:
    """Return a change for each set whose size, annotations or minReadySeconds differ from the wanted.

    `sizes` maps names of sets to wanted sizes; a set without one keeps its size.
    """
    changes = []
    for one in sets:
        annotations = dict(one.metadata.annotations)
        ready_seconds = one.spec.minReadySeconds
        if one is newest:
            annotations = new_annotations(deployment, one, revision)
            ready_seconds = deployment.spec.minReadySeconds
        size = sizes.get(one.metadata.name, wanted_replicas(one))
        if one.metadata.name in sizes:
            annotations.update(_size_annotations(deployment))
        change = Change(one.metadata.name, size, annotations, ready_seconds)
        before = Change(
            one.metadata.name,
            wanted_replicas(one),
            one.metadata.annotations,
            one.spec.minReadySeconds,
        )
        if change != before:
            changes.append(change)
    return tuple(changes)


def _revision(one: ReplicaSet) -> int:
    return annotated_number(one, REVISION) or 0


def _next_revision(old: Sequence[ReplicaSet]) -> int:
    return min(max(map(_revision, old), default=0) + 1, REVISION_MAX)


def _surplus_history(deployment: Deployment, old: Sequence[ReplicaSet]) -> tuple[str, ...]:
    """Return the names of old sets beyond revisionHistoryLimit that are scaled to 0, oldest revision first."""
    limit = deployment.spec.revisionHistoryLimit
    if limit is None or limit == 2**31 - 1:
        return ()
    alive = [one for one in old if one.metadata.deletionTimestamp is None]
    surplus = sorted(alive, key=_revision)[: max(0, len(alive) - limit)]
    return tuple(
        one.metadata.name
        for one in surplus
        if one.status.replicas == 0
        and wanted_replicas(one) == 0
        and one.metadata.generation <= one.status.observedGeneration
    )


class DeploymentController:
    """Reconciles Deployments."""

    name = "deployment-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._deployments = context.mirror(Deployment)
        self._sets = context.mirror(ReplicaSet)
        self._sets.add_index(CONTROLLER_INDEX, controller_uid)
        self._sets.add_index("orphan", orphan_in)
        self._selecting: SelectorIndex[Deployment] = SelectorIndex(lambda one: one.spec.selector)
        context.follow(Deployment, self._selecting.changed)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CONTROLLER_INDEX, controller_uid)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch deployments, their sets, and the ends of pods, for which the strategy Recreate waits."""
        return (
            Watch(Deployment),
            Watch(ReplicaSet, self._keys_of_set),
            Watch(Pod, self._keys_of_pod, where=_ended),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Adopt and release sets, take one step, write the status. Return the seconds to the progress deadline."""
        deployment = self._deployments.get(key.name, key.namespace)
        if deployment is None:
            return None
        if deployment.spec.selector is None or deployment.spec.selector == LabelSelector():
            self._context.events.event(
                deployment,
                WARNING,
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return None
        matches = matcher(deployment.spec.selector)
        offload = self._context.offload
        own = self._sets.indexed(CONTROLLER_INDEX, deployment.metadata.uid)
        orphans = self._sets.indexed("orphan", key.namespace)
        sets = await owned_by(self._client, offload, deployment, matches, [*own, *orphans])
        now = self._context.clock.now()
        weight = pod_weight(deployment.spec.template.spec)
        cost_bytes = len(sets) * (SET_COST_BYTES + weight)
        newest = await offload.run(cost_bytes, lambda: newest_set(deployment, sets))
        is_running = await self._old_pods_running(deployment, newest, sets)
        decision = await offload.run(
            cost_bytes + weight, lambda: plan(deployment, sets, is_running, now)
        )
        await self._apply(deployment, sets, decision)
        return seconds_to_deadline(deployment, decision.status, now)

    async def _old_pods_running(
        self, deployment: Deployment, newest: ReplicaSet | None, sets: Sequence[ReplicaSet]
    ) -> bool:
        if is_rolling(deployment):
            return False
        async for some in in_slices(sets, 50):
            for one in some:
                pods = self._pods.indexed(CONTROLLER_INDEX, one.metadata.uid)
                is_old = newest is None or one.metadata.uid != newest.metadata.uid
                if is_old and any(not is_terminal(pod) for pod in pods):
                    return True
        return False

    async def _apply(
        self, deployment: Deployment, sets: Sequence[ReplicaSet], decision: Plan
    ) -> None:
        status = decision.status
        if decision.create is not None:
            status = await self._create(deployment, decision.create, status)
        by_name = {one.metadata.name: one for one in sets}
        for change in decision.changes:
            await self._change(deployment, by_name[change.name], change)
        for name in decision.delete:
            try:
                await self._client.delete(
                    ReplicaSet, name, deployment.metadata.namespace, uid=by_name[name].metadata.uid
                )
            except NotFound:
                continue
        await self._report(deployment, status, decision.revision)

    async def _create(
        self, deployment: Deployment, one: ReplicaSet, status: DeploymentStatus
    ) -> DeploymentStatus:
        """Create the newest set; return the status, with collisionCount raised if the name belongs to another set.

        Raises APIError after it has put the failure into the status.
        """
        try:
            created = await self._client.create(one)
        except AlreadyExists:
            taken = await self._client.get(ReplicaSet, one.metadata.name, one.metadata.namespace)
            reference = controller_of(taken.metadata)
            if (
                reference is not None
                and reference.uid == deployment.metadata.uid
                and same_template(taken.spec.template, deployment.spec.template)
            ):
                return status
            return replace(status, collisionCount=(deployment.status.collisionCount or 0) + 1)
        except APIError as error:
            message = f'Failed to create new replica set "{one.metadata.name}": {error.message}'
            self._context.events.event(deployment, WARNING, "ReplicaSetCreateError", message)
            failed = condition(
                PROGRESSING, "False", "ReplicaSetCreateError", message, self._context.clock.now()
            )
            failed_status = replace(status, conditions=conditions.put(status.conditions, failed))
            await self._report(deployment, failed_status, "")
            raise
        if created.spec.replicas:
            self._scaled(deployment, created.metadata.name, 0, created.spec.replicas)
        return status

    async def _change(self, deployment: Deployment, one: ReplicaSet, change: Change) -> None:
        before = wanted_replicas(one)
        await self._client.patch(
            ReplicaSet,
            change.name,
            {
                "metadata": {
                    "resourceVersion": one.metadata.resourceVersion,
                    "annotations": dict(change.annotations),
                },
                "spec": {"replicas": change.size, "minReadySeconds": change.min_ready_seconds},
            },
            deployment.metadata.namespace,
        )
        if change.size != before:
            self._scaled(deployment, change.name, before, change.size)

    def _scaled(self, deployment: Deployment, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        self._context.events.event(deployment, NORMAL, "ScalingReplicaSet", message)

    async def _report(
        self, deployment: Deployment, status: DeploymentStatus, revision: str
    ) -> None:
        if revision and deployment.metadata.annotations.get(REVISION) != revision:
            annotations = {**deployment.metadata.annotations, REVISION: revision}
            metadata = replace(deployment.metadata, annotations=annotations)
            deployment = await self._client.update(replace(deployment, metadata=metadata))
        if status != deployment.status:
            await self._client.update(replace(deployment, status=status), "status")

    def _keys_of_set(self, one: ReplicaSet) -> Iterable[Key | None]:
        if controller_of(one.metadata) is not None:
            return controlled_by(Deployment)(one)
        return self._selecting.keys(one.metadata.namespace, one.metadata.labels)

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key]:
        reference = controller_of(pod.metadata)
        if reference is None or reference.kind != "ReplicaSet":
            return ()
        one = self._sets.get(reference.name, pod.metadata.namespace)
        return controlled_by(Deployment)(one) if one is not None else ()


def _ended(before: Pod | None, after: Pod | None) -> bool:
    return after is None or (is_terminal(after) and (before is None or not is_terminal(before)))
