"""Keeps the pods of a StatefulSet, each with an ordinal, a stable name and claims of its own, in order."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import AlreadyExists, APIError, NotFound
from kubelite.api.kinds.apps import ControllerRevision, StatefulSet, StatefulSetStatus
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodTemplateSpec
from kubelite.api.kinds.core.volumes import PersistentVolumeClaimVolumeSource, Volume
from kubelite.api.kinds.meta import LabelSelector
from kubelite.control import history
from kubelite.control.claim_retention import deletes, owners_of_claim
from kubelite.control.failed_starts import FailedStarts, is_refused, starts_of
from kubelite.control.ownership import (
    CONTROLLER_INDEX,
    controlled_by,
    controller_of,
    controller_reference,
    controller_uid,
    orphan_in,
    owned_by,
)
from kubelite.control.pods import (
    POD_COST_BYTES,
    is_available,
    is_being_deleted,
    is_ready,
    is_terminal,
    pod_from_template,
    seconds_until_available,
)
from kubelite.control.rollout import scaled
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import matcher
from kubelite.control.selector_index import SelectorIndex
from kubelite.tasks import in_slices

BURST = 500  # pods created or deleted in one reconcile; `replicas` may be up to 2³¹ - 1
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


class Plan(Struct, frozen=True):
    """The writes of one step. A set takes its next step when the pods change."""

    status: StatefulSetStatus
    create: tuple[int, ...] = ()  # ordinals
    delete: tuple[str, ...] = ()  # names of pods


def ordinal_of(owner: StatefulSet, pod: Pod) -> int:
    """Return a pod's ordinal; -1 if its name is not the set's name with an ordinal."""
    base, dash, number = pod.metadata.name.rpartition("-")
    is_ours = dash and base == owner.metadata.name and number.isdecimal()
    return int(number) if is_ours else -1


def first_ordinal(owner: StatefulSet) -> int:
    """Return the ordinal of the first pod."""
    return owner.spec.ordinals.start if owner.spec.ordinals else 0


def wanted_ordinals(owner: StatefulSet) -> range:
    """Return the ordinals that should exist."""
    start = first_ordinal(owner)
    return range(start, start + (1 if owner.spec.replicas is None else owner.spec.replicas))


def partition(owner: StatefulSet) -> int:
    """Return the ordinal below which pods keep the current revision during a rolling update."""
    rolling = owner.spec.updateStrategy.rollingUpdate
    if rolling is None or rolling.partition is None:
        return first_ordinal(owner)
    return first_ordinal(owner) + rolling.partition


def revision_for(owner: StatefulSet, ordinal: int, current: str, newest: str) -> str:
    """Return the name of the revision that a new pod with this ordinal gets."""
    if owner.spec.updateStrategy.type == "OnDelete":
        return newest
    return current if ordinal < partition(owner) else newest


def plan(owner: StatefulSet, pods: Sequence[Pod], current: str, newest: str, now: datetime) -> Plan:
    """Decide one step; `current` and `newest` are the names of revisions.

    Under the policy OrderedReady a pod is created only after all with lower ordinals are available, and deleted before
    them. Under Parallel neither waits.
    """
    status = status_of(owner, pods, current, newest, now)
    if owner.metadata.deletionTimestamp is not None:
        return Plan(status=status)
    ordered = owner.spec.podManagementPolicy != "Parallel"
    by_ordinal = {ordinal_of(owner, pod): pod for pod in pods}
    by_ordinal.pop(-1, None)
    wanted = wanted_ordinals(owner)
    create: list[int] = []
    delete: list[str] = []
    for ordinal in wanted:
        if len(create) + len(delete) >= BURST:
            return Plan(status=status, create=tuple(create), delete=tuple(delete))
        pod = by_ordinal.get(ordinal)
        if pod is None:
            create.append(ordinal)
        elif is_terminal(pod) and not is_being_deleted(pod):
            delete.append(pod.metadata.name)
        elif not ordered or _is_settled(owner, pod, now):
            continue
        if ordered:
            return Plan(status=status, create=tuple(create), delete=tuple(delete))
    condemned = sorted((one for one in by_ordinal if one not in wanted), reverse=True)
    delete += _condemned(owner, [by_ordinal[one] for one in condemned], ordered, now)
    if create or delete or (ordered and condemned):
        return Plan(status=status, create=tuple(create), delete=tuple(delete))
    if owner.spec.updateStrategy.type == "OnDelete":
        return Plan(status=status)
    return Plan(status=status, delete=tuple(_outdated(owner, by_ordinal, newest, now)))


def _condemned(owner: StatefulSet, pods: Sequence[Pod], ordered: bool, now: datetime) -> list[str]:
    """Return the names of the pods beyond the wanted ordinals to delete now; the highest ordinal goes first."""
    if not ordered:
        return [pod.metadata.name for pod in pods if not is_being_deleted(pod)]
    if not pods or is_being_deleted(pods[0]):
        return []
    # An unhealthy pod waits while a condemned pod with a lower ordinal is unhealthy too.
    unhealthy = [pod for pod in pods if not _is_settled(owner, pod, now)]
    if unhealthy and pods[0] in unhealthy and pods[0] is not unhealthy[-1]:
        return []
    return [pods[0].metadata.name]


def _outdated(
    owner: StatefulSet, by_ordinal: Mapping[int, Pod], newest: str, now: datetime
) -> list[str]:
    """Return the names of old pods to delete: from the highest ordinal down, at most maxUnavailable."""
    wanted = wanted_ordinals(owner)
    rolling = owner.spec.updateStrategy.rollingUpdate
    limit = 1
    if rolling is not None and rolling.maxUnavailable is not None:
        limit = max(1, scaled(rolling.maxUnavailable, len(wanted), round_up=True))
    missing = sum(not _is_settled(owner, by_ordinal[one], now) for one in wanted)
    delete: list[str] = []
    for ordinal in reversed(wanted):
        if ordinal < partition(owner):
            break
        pod = by_ordinal[ordinal]
        is_old = pod.metadata.labels.get(history.HASH) != newest
        settled = _is_settled(owner, pod, now)
        if is_old and not is_being_deleted(pod) and (not settled or missing < limit):
            # A broken old pod may never become available, so replace it regardless of the limit.
            delete.append(pod.metadata.name)
            missing += settled
        elif not settled and limit == 1:
            break
        if len(delete) >= limit:
            break
    return delete


def _is_settled(owner: StatefulSet, pod: Pod, now: datetime) -> bool:
    return (
        pod.status.phase == "Running"
        and not is_being_deleted(pod)
        and is_available(pod, owner.spec.minReadySeconds, now)
    )


def status_of(
    owner: StatefulSet, pods: Sequence[Pod], current: str, newest: str, now: datetime
) -> StatefulSetStatus:
    """Return the status; once all pods are ready and of the newest revision, that becomes the current one."""
    created = [pod for pod in pods if pod.status.phase or not is_being_deleted(pod)]
    staying = [pod for pod in created if not is_being_deleted(pod)]
    running = [pod for pod in created if pod.status.phase == "Running" and is_ready(pod)]
    updated = sum(pod.metadata.labels.get(history.HASH) == newest for pod in staying)
    replicas = len(created)
    ready = len(running)
    if owner.spec.updateStrategy.type != "OnDelete" and updated == replicas == ready == len(
        wanted_ordinals(owner)
    ):
        current = newest
    return replace(
        owner.status,
        replicas=replicas,
        readyReplicas=ready,
        availableReplicas=sum(
            is_available(pod, owner.spec.minReadySeconds, now) for pod in running
        ),
        currentReplicas=sum(pod.metadata.labels.get(history.HASH) == current for pod in staying),
        updatedReplicas=updated,
        currentRevision=current,
        updateRevision=newest,
        observedGeneration=owner.metadata.generation,
        collisionCount=owner.status.collisionCount or 0,
    )


def claim_name(template: PersistentVolumeClaim, owner: StatefulSet, ordinal: int) -> str:
    """Return the name of the claim made from `template` for the pod with this ordinal."""
    return f"{template.metadata.name}-{owner.metadata.name}-{ordinal}"


def claims_of(owner: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
    """Return the claims of the pod with this ordinal."""
    labels = owner.spec.selector.matchLabels if owner.spec.selector else {}
    references = [controller_reference(owner)] if deletes(owner)[0] else []
    return [
        replace(
            template,
            metadata=replace(
                template.metadata,
                name=claim_name(template, owner, ordinal),
                namespace=owner.metadata.namespace,
                labels={**template.metadata.labels, **labels},
                ownerReferences=references,
            ),
        )
        for template in owner.spec.volumeClaimTemplates
    ]


def pod_of(owner: StatefulSet, template: PodTemplateSpec, ordinal: int, revision: str) -> Pod:
    """Return the pod to create for an ordinal: with its identity labels, host name and claims."""
    name = f"{owner.metadata.name}-{ordinal}"
    pod = pod_from_template(template, owner, name=name)
    ours = {one.metadata.name for one in owner.spec.volumeClaimTemplates}
    volumes = [
        Volume(
            name=one.metadata.name,
            persistentVolumeClaim=PersistentVolumeClaimVolumeSource(
                claimName=claim_name(one, owner, ordinal)
            ),
        )
        for one in owner.spec.volumeClaimTemplates
    ]
    volumes += (volume for volume in pod.spec.volumes if volume.name not in ours)
    labels = {
        **pod.metadata.labels,
        POD_NAME: name,
        POD_INDEX: str(ordinal),
        history.HASH: revision,
    }
    return replace(
        pod,
        metadata=replace(pod.metadata, labels=labels),
        spec=replace(pod.spec, hostname=name, subdomain=owner.spec.serviceName, volumes=volumes),
    )


class StatefulSetController:
    """Reconciles StatefulSets."""

    name = "statefulset-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._sets = context.mirror(StatefulSet)
        self._selecting: SelectorIndex[StatefulSet] = SelectorIndex(lambda one: one.spec.selector)
        context.follow(StatefulSet, self._selecting.changed)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CONTROLLER_INDEX, controller_uid)
        self._pods.add_index("orphan", orphan_in)
        self._claims = context.mirror(PersistentVolumeClaim)
        self._revisions = context.mirror(ControllerRevision)
        self._revisions.add_index(CONTROLLER_INDEX, controller_uid)
        self._failed_starts = FailedStarts(context)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch StatefulSets, their pods and their revisions."""
        return (
            Watch(StatefulSet),
            Watch(Pod, self._keys_of_pod),
            Watch(ControllerRevision, controlled_by(StatefulSet)),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Take one step, then write the status.

        Return the seconds until a pod becomes available or a refused pod may be replaced, or None.
        """
        owner = self._sets.get(key.name, key.namespace)
        if owner is None or owner.spec.selector in (None, LabelSelector()):
            return None
        revisions = self._revisions.indexed(CONTROLLER_INDEX, owner.metadata.uid)
        offload = self._context.offload
        decided = await offload.run(
            history.cost_bytes(owner, revisions),
            lambda: history.plan(owner, revisions, owner.status.collisionCount),
        )
        newest = await history.write(self._client, decided)
        if newest is None:
            status = replace(owner.status, collisionCount=(owner.status.collisionCount or 0) + 1)
            await self._client.update(replace(owner, status=status), "status")
            return None
        by_name = {one.metadata.name: one for one in revisions}
        current = by_name.get(owner.status.currentRevision, newest)
        if history.template_of(current) is None:
            current = newest  # a user's revision has that name
        pods = await self._claimed(owner)
        now = self._context.clock.now()
        names = current.metadata.name, newest.metadata.name
        step = await offload.run(
            2 * POD_COST_BYTES * len(pods), lambda: plan(owner, pods, *names, now)
        )
        if owner.metadata.deletionTimestamp is None:
            # The retention policy may make a claim go with its pod, so set its owners before pods are deleted.
            async for some in in_slices(pods):
                for pod in some:
                    await self._set_claim_owners(owner, pod)
        for ordinal in step.create:
            await self._create(owner, ordinal, current, newest)
        wait_seconds = self._failed_starts.wait_seconds(owner, starts_of(pods))
        going = frozenset(step.delete)
        for pod in pods if going else ():
            # The successor needs the same name, so not deleting a refused pod delays its replacement.
            if pod.metadata.name in going and not (wait_seconds and is_refused(pod)):
                await self._delete(owner, pod)
        if step.status != owner.status:
            await self._client.update(replace(owner, status=step.status), "status")
        live = {step.status.currentRevision, step.status.updateRevision}
        live |= {pod.metadata.labels.get(history.HASH, "") for pod in pods}
        limit = owner.spec.revisionHistoryLimit
        await history.drop(
            self._client, history.surplus(revisions, live, 10 if limit is None else limit)
        )
        waits = [seconds_until_available(pod, owner.spec.minReadySeconds, now) for pod in pods]
        again = [wait + 1 for wait in waits if wait] + ([wait_seconds] if wait_seconds else [])
        return min(again, default=None)

    async def _claimed(self, owner: StatefulSet) -> Sequence[Pod]:
        matches = matcher(owner.spec.selector)
        orphans = [
            pod
            for pod in self._pods.indexed("orphan", owner.metadata.namespace)
            if ordinal_of(owner, pod) >= 0
        ]
        own = self._pods.indexed(CONTROLLER_INDEX, owner.metadata.uid)
        offload = self._context.offload
        return await owned_by(self._client, offload, owner, matches, [*own, *orphans])

    async def _create(
        self,
        owner: StatefulSet,
        ordinal: int,
        current: ControllerRevision,
        newest: ControllerRevision,
    ) -> None:
        name = revision_for(owner, ordinal, current.metadata.name, newest.metadata.name)
        revision = current if name == current.metadata.name else newest
        template = history.template_of(revision) or owner.spec.template
        pod = pod_of(owner, template, ordinal, name)
        try:
            for one in claims_of(owner, ordinal):
                await self._ensure_claim(one)
            await self._client.create(pod)
        except AlreadyExists:
            return
        except APIError as error:
            self._say(owner, WARNING, "FailedCreate", "create", pod.metadata.name, error.message)
            raise
        self._say(owner, NORMAL, "SuccessfulCreate", "create", pod.metadata.name)

    async def _ensure_claim(self, wanted: PersistentVolumeClaim) -> None:
        if self._claims.get(wanted.metadata.name, wanted.metadata.namespace) is not None:
            return
        try:
            await self._client.create(wanted)
        except AlreadyExists:
            return

    async def _set_claim_owners(self, owner: StatefulSet, pod: Pod) -> None:
        ordinal = ordinal_of(owner, pod)
        for template in owner.spec.volumeClaimTemplates:
            found = self._claims.get(claim_name(template, owner, ordinal), owner.metadata.namespace)
            if found is None:
                continue
            references = owners_of_claim(
                found, owner, pod, is_wanted=ordinal in wanted_ordinals(owner)
            )
            if references != found.metadata.ownerReferences:
                metadata = replace(found.metadata, ownerReferences=references)
                await self._client.update(replace(found, metadata=metadata))

    async def _delete(self, owner: StatefulSet, pod: Pod) -> None:
        meta = pod.metadata
        try:
            # Names are reused, so give the uid: a successor with the same name must survive.
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        except NotFound:
            return
        self._say(owner, NORMAL, "SuccessfulDelete", "delete", meta.name)

    def _say(
        self, owner: StatefulSet, event_type: str, reason: str, verb: str, pod: str, error: str = ""
    ) -> None:
        outcome = f"failed error: {error}" if error else "successful"
        message = f"{verb} Pod {pod} in StatefulSet {owner.metadata.name} {outcome}"
        self._context.events.event(owner, event_type, reason, message)

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key | None]:
        if controller_of(pod.metadata) is not None:
            return controlled_by(StatefulSet)(pod)
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)
