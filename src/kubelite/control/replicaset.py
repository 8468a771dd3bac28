"""Keeps as many pods as a ReplicaSet or ReplicationController wants."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.protocol import Mirror
from kubelite.api.errors import APIError
from kubelite.api.kinds.apps import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from kubelite.api.kinds.core.pods import Pod, PodTemplateSpec
from kubelite.api.kinds.core.replication_controllers import (
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery.times import format_time
from kubelite.control import conditions
from kubelite.control.batches import for_each, slow_start
from kubelite.control.failed_starts import FailedStarts, starts_of
from kubelite.control.ownership import (
    CONTROLLER_INDEX,
    controlled_by,
    controller_of,
    controller_uid,
    orphan_in,
    owned_by,
)
from kubelite.control.pod_control import create_pod, delete_pod
from kubelite.control.pods import (
    POD_COST_BYTES,
    is_active,
    is_ready,
    is_terminating,
    least_missed_first,
    pod_from_template,
    seconds_until_available,
)
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import Labels, Matcher, equality_matcher, matcher
from kubelite.control.selector_index import SelectorIndex

BURST = 500  # pods created or deleted in one reconcile
FAILURE = "ReplicaFailure"

Owner = ReplicaSet | ReplicationController
Status = ReplicaSetStatus | ReplicationControllerStatus


class Plan(Struct, frozen=True):
    """The writes that bring the number of pods to the wanted one."""

    create: int = 0
    delete: tuple[str, ...] = ()  # names


def plan(wanted: int, pods: Sequence[Pod], related: Iterable[Pod], now: datetime) -> Plan:
    """Decide how many pods to create, or which to delete; at most BURST.

    `pods` are the set's active pods, `related` those of all sets of the same controller, which weigh in the order of
    deletion.
    """
    surplus = len(pods) - wanted
    if surplus <= 0:
        return Plan(create=min(-surplus, BURST))
    if surplus < len(pods):
        pods = least_missed_first(pods, related, now)
    return Plan(delete=tuple(pod.metadata.name for pod in pods[: min(surplus, BURST)]))


def status_of(
    owner: Owner, active: Sequence[Pod], terminating: int, failure: APIError | None, now: datetime
) -> Status:
    """Return the status: numbers of pods, and ReplicaFailure if the last writes failed.

    `active` are the active pods, `terminating` counts those being deleted that still run.
    """
    spec, status = owner.spec, owner.status
    labels = equality_matcher(spec.template.metadata.labels if spec.template else {})
    waits = [seconds_until_available(pod, spec.minReadySeconds, now) for pod in active]
    found: Sequence[ReplicaSetCondition | ReplicationControllerCondition] = status.conditions
    if failure is None:
        found = conditions.without(found, FAILURE)
    elif conditions.find(found, FAILURE) is None:
        few = len(active) < _wanted(owner)
        make = (
            ReplicaSetCondition if isinstance(owner, ReplicaSet) else ReplicationControllerCondition
        )
        found = [
            *found,
            make(
                type=FAILURE,
                status="True",
                reason="FailedCreate" if few else "FailedDelete",
                message=failure.message,
                lastTransitionTime=format_time(now),
            ),
        ]
    changed = replace(
        status,
        replicas=len(active),
        fullyLabeledReplicas=sum(labels(pod.metadata.labels) for pod in active),
        readyReplicas=sum(wait is not None for wait in waits),
        availableReplicas=sum(wait == 0 for wait in waits),
        observedGeneration=owner.metadata.generation,
        conditions=found,
    )
    if isinstance(owner, ReplicaSet):
        changed = replace(changed, terminatingReplicas=terminating)
    return changed


class ReplicaSetController:
    """Reconciles ReplicaSets."""

    kind: type[Owner] = ReplicaSet
    name = "replicaset-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._sets: Mirror[Owner] = context.mirror(self.kind)
        self._sets.add_index(CONTROLLER_INDEX, controller_uid)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CONTROLLER_INDEX, controller_uid)
        self._pods.add_index("orphan", orphan_in)
        self._selecting: SelectorIndex[Owner] = SelectorIndex(self._selector)
        context.follow(self.kind, self._selecting.changed)
        self._failed_starts = FailedStarts(context)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch the sets, their pods, and orphans that a set may adopt."""
        return (Watch(self.kind), Watch(Pod, self._keys_of_pod))

    async def reconcile(self, key: Key) -> float | None:
        """Adopt and release pods, create or delete some, then write the status. Raises APIError if a write failed."""
        owner = self._sets.get(key.name, key.namespace)
        if owner is None:
            return None
        now = self._context.clock.now()
        own = self._pods.indexed(CONTROLLER_INDEX, owner.metadata.uid)
        candidates = [*own, *self._pods.indexed("orphan", key.namespace)]
        offload = self._context.offload
        cost_bytes = POD_COST_BYTES * len(candidates)
        candidates = await offload.run(
            cost_bytes // 8, lambda: [pod for pod in candidates if is_active(pod)]
        )
        active = await owned_by(self._client, offload, owner, self._matcher(owner), candidates)
        failure, wait_seconds = None, 0.0
        if owner.metadata.deletionTimestamp is None:
            every = own
            starts = await offload.run(cost_bytes // 8, lambda: starts_of(every))
            wait_seconds = self._failed_starts.wait_seconds(owner, starts)
            surplus = len(active) > _wanted(owner)
            related = list(self._related(owner)) if surplus else []
            counted = active
            decision = await offload.run(
                cost_bytes + POD_COST_BYTES * len(related),
                lambda: plan(_wanted(owner), counted, related, now),
            )
            if wait_seconds:
                decision = replace(decision, create=0)
            failure = await self._apply(owner, decision, active)
            if decision.create or decision.delete:
                # The mirror holds this reconcile's writes already, so count the pods anew.
                pods = self._pods.indexed(CONTROLLER_INDEX, owner.metadata.uid)
                active = [pod for pod in pods if is_active(pod)]
        left, own = active, self._pods.indexed(CONTROLLER_INDEX, owner.metadata.uid)
        status = await offload.run(
            POD_COST_BYTES * len(own),
            lambda: status_of(owner, left, sum(map(is_terminating, own)), failure, now),
        )
        if status != owner.status:
            await self._client.update(replace(owner, status=status), "status")
        if failure is not None:
            raise failure
        available_seconds = None
        if owner.spec.minReadySeconds:
            available_seconds = await offload.run(
                POD_COST_BYTES * len(left),
                lambda: _next_availability(left, owner.spec.minReadySeconds, now),
            )
        waits = (wait_seconds or None, available_seconds)
        return min((wait for wait in waits if wait is not None), default=None)

    async def _apply(self, owner: Owner, decision: Plan, active: Sequence[Pod]) -> APIError | None:
        if decision.create:
            template = pod_from_template(owner.spec.template or PodTemplateSpec(), owner)
            return await slow_start(
                decision.create, lambda _: create_pod(self._context, owner, template)
            )
        names = frozenset(decision.delete)
        surplus = [pod for pod in active if pod.metadata.name in names] if names else ()
        failures = await for_each(surplus, lambda pod: delete_pod(self._context, owner, pod))
        return next((failure for failure in failures if failure is not None), None)

    def _selector(self, owner: Owner) -> LabelSelector | Labels | None:
        return owner.spec.selector

    def _matcher(self, owner: Owner) -> Matcher:
        selector = self._selector(owner)
        if selector is None or isinstance(selector, LabelSelector):
            return matcher(selector)
        return equality_matcher(selector)

    def _related(self, owner: Owner) -> Iterable[Pod]:
        """Yield the pods of all sets that share this set's controller."""
        reference = controller_of(owner.metadata)
        siblings = (
            [owner] if reference is None else self._sets.indexed(CONTROLLER_INDEX, reference.uid)
        )
        for sibling in siblings:
            yield from self._pods.indexed(CONTROLLER_INDEX, sibling.metadata.uid)

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key | None]:
        if controller_of(pod.metadata) is not None:
            return controlled_by(self.kind)(pod)
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)


class ReplicationControllerController(ReplicaSetController):
    """Reconciles ReplicationControllers."""

    kind = ReplicationController
    name = "replication-controller"


def _wanted(owner: Owner) -> int:
    return 1 if owner.spec.replicas is None else int(owner.spec.replicas)


def _next_availability(pods: Iterable[Pod], min_ready_seconds: int, now: datetime) -> float | None:
    """Return the seconds until the next ready pod becomes available; None if none will."""
    if min_ready_seconds == 0:
        return None
    waits = (seconds_until_available(pod, min_ready_seconds, now) for pod in pods if is_ready(pod))
    # Timestamps are cut to whole seconds, so add one: the requeue must not come before the pod counts as available.
    return min((wait + 1 for wait in waits if wait), default=None)
