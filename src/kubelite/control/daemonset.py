"""Runs one pod of a DaemonSet on each eligible node."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import WARNING
from kubelite.api.errors import APIError
from kubelite.api.kinds.apps import ControllerRevision, DaemonSet, DaemonSetStatus
from kubelite.api.kinds.core.node_affinity import (
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.scheduling import Affinity, Toleration
from kubelite.api.kinds.meta import LabelSelector
from kubelite.backoff import backoff_seconds
from kubelite.control import history
from kubelite.control.batches import for_each, slow_start
from kubelite.control.node_taints import NOT_READY, PRESSURES, UNREACHABLE, UNSCHEDULABLE
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
    is_available,
    is_being_deleted,
    is_ready,
    is_terminal,
    pod_from_template,
    pod_weight,
    seconds_until_available,
)
from kubelite.control.rollout import scaled
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.scheduler import filters
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.selection import matcher
from kubelite.control.selector_index import SelectorIndex

BURST = 250
RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 900.0
NAME_FIELD = "metadata.name"


class Plan(Struct, frozen=True):
    """The writes of one step."""

    create: tuple[str, ...] = ()  # names of nodes
    delete: tuple[str, ...] = ()  # names of pods
    failed: tuple[str, ...] = ()  # nodes whose pod has ended; it is replaced after a back-off
    status: DaemonSetStatus = DaemonSetStatus()


def daemon_spec(spec: PodSpec, node: str) -> PodSpec:
    """Return the pod spec for one node: bound to it by affinity, with tolerations for node condition taints."""
    wanted = [
        Toleration(key=NOT_READY, operator="Exists", effect="NoExecute"),
        Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute"),
        *(
            Toleration(key=PRESSURES[name], operator="Exists", effect="NoSchedule")
            for name in ("DiskPressure", "MemoryPressure", "PIDPressure")
        ),
        Toleration(key=UNSCHEDULABLE, operator="Exists", effect="NoSchedule"),
    ]
    if spec.hostNetwork:
        wanted.append(
            Toleration(key=PRESSURES["NetworkUnavailable"], operator="Exists", effect="NoSchedule")
        )
    present = spec.tolerations
    tolerations = [*present, *(one for one in wanted if one not in present)]
    # The template's own terms have chosen the node already, so the pod's affinity names that node only.
    named = NodeSelectorTerm(
        matchFields=[NodeSelectorRequirement(key=NAME_FIELD, operator="In", values=[node])]
    )
    affinity = spec.affinity or Affinity()
    near = affinity.nodeAffinity or NodeAffinity()
    near = replace(
        near,
        requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=[named]),
    )
    return replace(spec, tolerations=tolerations, affinity=replace(affinity, nodeAffinity=near))


def node_of(pod: Pod) -> str:
    """Return the name of the node that a daemon pod is bound to or meant for; "" for none."""
    if pod.spec.nodeName:
        return pod.spec.nodeName
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    for term in required.nodeSelectorTerms if required else ():
        for one in term.matchFields:
            if one.key == NAME_FIELD and one.operator == "In" and len(one.values) == 1:
                return one.values[0]
    return ""


def template_info(daemons: DaemonSet) -> PodInfo:
    """Return the scheduler's view of the set's pods, which is the same on every node."""
    spec = daemons.spec.template.spec
    tolerations = daemon_spec(spec, "").tolerations
    return PodInfo(Pod(spec=replace(spec, tolerations=tolerations)))


def placement(info: PodInfo, node: Node) -> tuple[bool, bool]:
    """Return whether a node should run a pod, and whether an existing one may continue there."""
    place = NodeInfo(node.metadata.name)
    place.set_node(node)
    if filters.node_name(info, place) or filters.node_affinity(info, place):
        return False, False
    if filters.taints(info, place) is None:
        return True, True
    stays = all(taint[2] != "NoExecute" or info.tolerates(taint) for taint in place.taints)
    return False, stays


def plan(
    daemons: DaemonSet, nodes: Sequence[Node], pods: Sequence[Pod], digest: str, now: datetime
) -> Plan:
    """Decide one step: at most BURST creations and deletions; `digest` is the hash of the current template."""
    by_node: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        by_node[node_of(pod)].append(pod)
    info = template_info(daemons)
    places = {node.metadata.name: placement(info, node) for node in nodes}
    wanted = [name for name, (should_run, _) in places.items() if should_run]
    create: list[str] = []
    delete: list[str] = []
    failed: list[str] = []
    for name, (should_run, may_stay) in places.items():
        here = by_node.get(name, [])
        if not may_stay:
            delete += _living(here)
            continue
        ended = [one for one in here if is_terminal(one) and not is_being_deleted(one)]
        live = [one for one in here if not is_terminal(one)]
        if ended:
            failed.append(name)
        elif should_run and not here:
            create.append(name)
        delete += _excess(live, daemons, digest)
    for name, here in by_node.items():
        if name not in places:
            delete += _living(here)
    if daemons.spec.updateStrategy.type != "OnDelete":
        more_create, more_delete = _update(daemons, wanted, by_node, digest, now)
        create = list(dict.fromkeys([*create, *more_create]))
        delete = list(dict.fromkeys([*delete, *more_delete]))
    return Plan(
        create=tuple(create[:BURST]),
        delete=tuple(delete[:BURST]),
        failed=tuple(failed),
        status=status_of(daemons, places, by_node, digest, now),
    )


def _living(pods: Iterable[Pod]) -> list[str]:
    return [pod.metadata.name for pod in pods if not is_being_deleted(pod)]


def _is_new(pod: Pod, digest: str) -> bool:
    return pod.metadata.labels.get(history.HASH) == digest


def _by_age(pods: Iterable[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: (pod.metadata.creationTimestamp, pod.metadata.name))


def _excess(live: Sequence[Pod], daemons: DaemonSet, digest: str) -> list[str]:
    """Return the names of the pods on a node beyond one; with maxSurge, beyond one old and one new."""
    staying = [pod for pod in live if not is_being_deleted(pod)]
    if _surge(daemons, 1) == 0:
        return [pod.metadata.name for pod in _by_age(staying)[1:]]
    old = [pod for pod in staying if not _is_new(pod, digest)]
    new = [pod for pod in staying if _is_new(pod, digest)]
    return [pod.metadata.name for group in (old, new) for pod in _by_age(group)[1:]]


def _surge(daemons: DaemonSet, wanted: int) -> int:
    rolling = daemons.spec.updateStrategy.rollingUpdate
    return scaled(rolling.maxSurge, wanted, round_up=True) if rolling else 0


def _unavailable(daemons: DaemonSet, wanted: int) -> int:
    rolling = daemons.spec.updateStrategy.rollingUpdate
    if rolling is None:
        return 1
    below = scaled(rolling.maxUnavailable, wanted, round_up=True)
    return below if below or _surge(daemons, wanted) else 1


def _update(
    daemons: DaemonSet,
    wanted: Sequence[str],
    by_node: Mapping[str, Sequence[Pod]],
    digest: str,
    now: datetime,
) -> tuple[list[str], list[str]]:
    """Return the nodes to create a new pod on beside the old one, and the names of old pods to delete."""
    surge = _surge(daemons, len(wanted))
    ready_seconds = daemons.spec.minReadySeconds
    create: list[str] = []
    useless: list[str] = []
    candidates: list[str] = []
    missing = 0
    extra = 0
    for name in sorted(wanted):
        here = [pod for pod in by_node.get(name, ()) if not is_terminal(pod)]
        staying = [pod for pod in here if not is_being_deleted(pod)]
        old = [pod for pod in staying if not _is_new(pod, digest)]
        new = [pod for pod in staying if _is_new(pod, digest)]
        if surge:
            new_ready = any(is_available(pod, ready_seconds, now) for pod in new)
            if old and new:
                useless += (pod.metadata.name for pod in old if new_ready)
                extra += not new_ready
            elif old and not is_available(old[0], ready_seconds, now):
                create.append(name)
            elif old:
                candidates.append(name)
        elif not staying or (new and not is_available(new[0], ready_seconds, now)):
            missing += 1
        elif old and not is_available(old[0], ready_seconds, now):
            useless.append(old[0].metadata.name)
            missing += 1
        elif old:
            candidates.append(old[0].metadata.name)
    if surge:
        return create + candidates[: max(0, surge - extra)], useless
    room = max(0, _unavailable(daemons, len(wanted)) - missing)
    return [], useless + candidates[:room]


def status_of(
    daemons: DaemonSet,
    places: Mapping[str, tuple[bool, bool]],
    by_node: Mapping[str, Sequence[Pod]],
    digest: str,
    now: datetime,
) -> DaemonSetStatus:
    """Return the status: nodes counted by the pods that they have and should have."""
    desired = current = misscheduled = ready = available = updated = 0
    for name, (should_run, _) in places.items():
        here = _by_age(pod for pod in by_node.get(name, ()) if not is_being_deleted(pod))
        if not should_run:
            misscheduled += bool(here)
            continue
        desired += 1
        if here:
            current += 1
            ready += is_ready(here[0])
            available += is_available(here[0], daemons.spec.minReadySeconds, now)
            updated += _is_new(here[0], digest)
    return replace(
        daemons.status,
        desiredNumberScheduled=desired,
        currentNumberScheduled=current,
        numberMisscheduled=misscheduled,
        numberReady=ready,
        numberAvailable=available,
        numberUnavailable=desired - available,
        updatedNumberScheduled=updated,
        observedGeneration=daemons.metadata.generation,
    )


class DaemonSetController:
    """Reconciles DaemonSets."""

    name = "daemonset-controller"
    identity = "daemon-set-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._daemons = context.mirror(DaemonSet)
        self._selecting: SelectorIndex[DaemonSet] = SelectorIndex(lambda one: one.spec.selector)
        context.follow(DaemonSet, self._selecting.changed)
        self._nodes = context.mirror(Node)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CONTROLLER_INDEX, controller_uid)
        self._pods.add_index("orphan", orphan_in)
        self._revisions = context.mirror(ControllerRevision)
        self._revisions.add_index(CONTROLLER_INDEX, controller_uid)
        self._failures: dict[
            tuple[str, str], tuple[int, float]
        ] = {}  # failures, and loop time of the next attempt

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch DaemonSets, their pods and revisions, and the labels and specs of nodes."""
        return (
            Watch(DaemonSet),
            Watch(Pod, self._keys_of_pod),
            Watch(ControllerRevision, controlled_by(DaemonSet)),
            Watch(Node, self._all, where=_node_matters),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Take one step, then write the status. Raises APIError if a write failed."""
        daemons = self._daemons.get(key.name, key.namespace)
        if daemons is None or daemons.spec.selector in (None, LabelSelector()):
            return None
        uid = daemons.metadata.uid
        pods = await self._claimed(daemons)
        if daemons.metadata.deletionTimestamp is not None:
            return None
        offload = self._context.offload
        revisions = self._revisions.indexed(CONTROLLER_INDEX, uid)
        decided = await offload.run(
            history.cost_bytes(daemons, revisions),
            lambda: history.plan(daemons, revisions, daemons.status.collisionCount),
        )
        newest = await history.write(self._client, decided)
        if newest is None:
            count = (daemons.status.collisionCount or 0) + 1
            status = replace(daemons.status, collisionCount=count)
            await self._client.update(replace(daemons, status=status), "status")
            return None
        digest = history.digest_of(newest)
        now = self._context.clock.now()
        nodes = self._nodes.list()
        cost_bytes = POD_COST_BYTES * (len(nodes) + 2 * len(pods))
        cost_bytes += pod_weight(daemons.spec.template.spec)
        step = await offload.run(cost_bytes, lambda: plan(daemons, nodes, pods, digest, now))
        again_seconds, ended = self._due(daemons, step, pods)
        failure = await self._apply(daemons, digest, step, pods, ended)
        if step.status != daemons.status:
            await self._client.update(replace(daemons, status=step.status), "status")
        if failure is not None:
            raise failure
        limit = daemons.spec.revisionHistoryLimit
        live = {digest} | {pod.metadata.labels.get(history.HASH, "") for pod in pods}
        await history.drop(
            self._client, history.surplus(revisions, live, 10 if limit is None else limit)
        )
        waits = (seconds_until_available(pod, daemons.spec.minReadySeconds, now) for pod in pods)
        return _sooner(again_seconds, min((wait + 1 for wait in waits if wait), default=None))

    async def _claimed(self, daemons: DaemonSet) -> Sequence[Pod]:
        candidates = [
            *self._pods.indexed(CONTROLLER_INDEX, daemons.metadata.uid),
            *self._pods.indexed("orphan", daemons.metadata.namespace),
        ]
        matches = matcher(daemons.spec.selector)
        return await owned_by(self._client, self._context.offload, daemons, matches, candidates)

    def _due(
        self, daemons: DaemonSet, step: Plan, pods: Sequence[Pod]
    ) -> tuple[float | None, list[str]]:
        """Return the seconds until the next back-off ends, or None, and the names of the ended pods to delete now."""
        now = asyncio.get_running_loop().time()
        # A node without a failure for long starts with the shortest delay again, so drop its entry.
        self._failures = {
            key: (count, again)
            for key, (count, again) in self._failures.items()
            if now < again + 2 * RETRY_MAX_SECONDS
        }
        wait: float | None = None
        ended: list[str] = []
        here: dict[str, list[Pod]] = defaultdict(list)
        for pod in pods if step.failed else ():
            if is_terminal(pod) and not is_being_deleted(pod):
                here[node_of(pod)].append(pod)
        for node in step.failed:
            key = (daemons.metadata.uid, node)
            count, again = self._failures.get(key, (0, 0.0))
            if again > now:
                wait = _sooner(wait, again - now)
                continue
            delay = backoff_seconds(count, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
            self._failures[key] = (count + 1, now + delay)
            for pod in here[node]:
                ended.append(pod.metadata.name)
                who = f"{pod.metadata.namespace}/{pod.metadata.name}"
                message = f"Found failed daemon pod {who} on node {node}, will try to kill it"
                self._context.events.event(daemons, WARNING, "FailedDaemonPod", message)
        return wait, ended

    async def _apply(
        self,
        daemons: DaemonSet,
        digest: str,
        step: Plan,
        pods: Sequence[Pod],
        ended: Sequence[str],
    ) -> APIError | None:
        template = daemons.spec.template
        labels = {**template.metadata.labels, history.HASH: digest}
        template = replace(template, metadata=replace(template.metadata, labels=labels))

        async def create(number: int) -> APIError | None:
            pod = pod_from_template(template, daemons)
            pod = replace(pod, spec=daemon_spec(pod.spec, step.create[number]))
            return await create_pod(self._context, daemons, pod)

        failure = await slow_start(len(step.create), create)
        names = {*step.delete, *ended}
        leaving = [pod for pod in pods if pod.metadata.name in names] if names else ()
        failures = await for_each(leaving, lambda pod: delete_pod(self._context, daemons, pod))
        return failure or next((one for one in failures if one is not None), None)

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key | None]:
        if controller_of(pod.metadata) is not None:
            return controlled_by(DaemonSet)(pod)
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)

    def _all(self, _node: Node) -> Iterable[Key]:
        return (Key(one.metadata.namespace, one.metadata.name) for one in self._daemons.list())


def _node_matters(before: Node | None, after: Node | None) -> bool:
    if before is None or after is None:
        return True
    return before.metadata.labels != after.metadata.labels or before.spec != after.spec


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)
