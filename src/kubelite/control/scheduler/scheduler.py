"""Assigns pods to nodes.

Changes of the mirrors keep a snapshot of the nodes and a queue of pods. One task takes a pod at a time and decides; a
long decision yields to the loop. The pod is assumed on its node at once, while its binding is written beside others.
A pod that fits no node gets a FailedScheduling event, may preempt pods of lower priority, and stays unschedulable until
a cluster event requeues it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, Conflict, NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Binding, Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.api.machinery.local_volumes import storage_room
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.control.pods import condition, is_terminal
from kubelite.control.scheduler.decision import Decider, Unschedulable
from kubelite.control.scheduler.devices.protocol import (
    FILTER,
    AllocationFailed,
    AllocationLost,
    ClaimNotMade,
    DeviceNotReady,
    NotPrepared,
    Reservation,
)
from kubelite.control.scheduler.load import NodeLoads, ReadLoads
from kubelite.control.scheduler.node_info import Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.preemption import Candidate, Outcome, preempt
from kubelite.control.scheduler.queue import (
    DEVICE,
    DEVICE_CLASS,
    NODE,
    NOTHING_BUT_TIME,
    POD_PLACED,
    POD_REMOVED,
    VOLUME,
    SchedulingQueue,
    Waiting,
)
from kubelite.control.scheduler.steps import in_turns
from kubelite.control.scheduler.volumes import Preparation, ProvisioningFailed, Volumes
from kubelite.control.selector_index import SelectorIndex
from kubelite.limits import INLINE_WORK
from kubelite.metrics import LOOP_LAG, REGISTRY
from kubelite.offload import Offload
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.control.scheduler.devices.claims import ClaimState
    from kubelite.control.scheduler.devices.classes import DeviceClasses
    from kubelite.control.scheduler.devices.manager import Devices

log = logging.getLogger(__name__)

NAME = "default-scheduler"
BINDINGS_LIMIT = 128  # bindings in flight at once
ATTEMPTS = REGISTRY.counter(
    "scheduler_schedule_attempts_total", "Attempts to place a pod, by outcome.", ("result",)
)
DECISION_SECONDS = REGISTRY.histogram(
    "scheduler_scheduling_algorithm_duration_seconds", "How long deciding took."
)
PENDING = REGISTRY.gauge("scheduler_pending_pods", "Pods without a node, by queue.", ("queue",))


class Scheduler:
    """Runs the scheduling of one scheduler name. `client` is its own identity; `mirrors` is whose mirrors it reads."""

    def __init__(
        self,
        *,
        client: Client,
        mirrors: Client,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
        name: str = NAME,
        read_loads: ReadLoads | None = None,
    ) -> None:
        """With `read_loads`, see `NodeLoads`, nodes are scored by what they really use as well."""
        self._client = client
        self._offload = offload
        self._clock = clock
        self._name = name
        self._events = EventRecorder(client, clock, randomness, component=name)
        self._pods = mirrors.mirror(Pod)
        self._nodes = mirrors.mirror(Node)
        self._namespaces = mirrors.mirror(Namespace)
        self._budgets = mirrors.mirror(PodDisruptionBudget)
        self._budget_index: SelectorIndex[PodDisruptionBudget] = SelectorIndex(
            lambda one: one.spec.selector
        )
        self._volumes = Volumes(mirrors)
        self._mirrors, self._randomness = mirrors, randomness
        self._devices: Devices | None = None  # from the first pod with resource claims on
        self._classes: DeviceClasses | None = None  # from the first pod with extended resources on
        self.snapshot = Snapshot()
        self.queue = SchedulingQueue()
        self._loads = NodeLoads(read_loads) if read_loads is not None else None
        self._decider = Decider(
            self.snapshot, self._volumes, self._labels_of, randomness, self._loads
        )
        self._tasks = TaskSet()
        self._bindings = asyncio.Semaphore(BINDINGS_LIMIT)
        self._preempting = asyncio.Lock()
        self._ends: list[Callable[[], None]] = []
        self._scheduled = ATTEMPTS.labelled("scheduled")
        self._unschedulable = ATTEMPTS.labelled("unschedulable")
        self._failed = ATTEMPTS.labelled("error")
        for state in ("active", "backoff", "unschedulable"):
            PENDING.computed(lambda state=state: self.queue.count(state), state)  # type: ignore[misc]  # bound per loop

    @property
    def idle(self) -> bool:
        """Whether no pod is active or being tried."""
        return self.queue.idle

    async def start(self) -> None:
        """Wait for the mirrors, then place pods."""
        for mirror in (self._nodes, self._pods, self._namespaces, self._budgets):
            await mirror.synced()
        for volume_mirror in self._volumes.mirrors:
            await volume_mirror.synced()
        self._ends = [
            self._budgets.subscribe(self._budget_index.changed),
            self._nodes.subscribe(self._node_changed),
            self._pods.subscribe(self._pod_changed),
            *(mirror.subscribe(self._volume_changed) for mirror in self._volumes.mirrors),
        ]
        if self._loads is not None:
            self._tasks.supervise(self._loads.follow, name=f"{self._name}-loads")
        self._tasks.supervise(self._place_pods, name=f"{self._name}-placing")

    async def stop(self) -> None:
        """Stop; a binding in flight may or may not be written."""
        for end in self._ends:
            end()
        if self._devices is not None:
            self._devices.close()
        if self._classes is not None:
            self._classes.close()
        await self._tasks.stop()
        self.queue.close()
        await self._events.close()

    def _budgets_of(
        self, namespace: str, labels: Mapping[str, str]
    ) -> Iterator[PodDisruptionBudget | None]:
        for key in self._budget_index.keys(namespace, labels):
            yield self._budgets.get(key.name, key.namespace) if key is not None else None

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        found = self._namespaces.get(namespace)
        return found.metadata.labels if found else {}

    # --- what happens in the cluster

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        if after is None:
            if before is not None:
                self.snapshot.remove_node(before.metadata.name)
                # One node fewer can help: it no longer counts for topology spread.
                self.queue.wake(NODE)
        elif before is None or _node_facts(before) != _node_facts(after):
            self.snapshot.set_node(after)
            self.queue.wake(NODE)
        elif before.status.images != after.status.images:
            # Images change scores, not filters, so no pod is requeued.
            self.snapshot.set_node(after)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        pod = after or before
        assert pod is not None
        uid = pod.metadata.uid
        if after is None or is_terminal(after):
            self._pod_gone(uid)
        elif after.spec.nodeName:
            self._pod_placed(before, after)
        elif self._is_ours(after):
            self._pod_waits(before, after)
        else:
            self.queue.discard(uid)
            self._end_nomination(uid)

    def _end_nomination(self, uid: str, node: str = "") -> None:
        """Drop the nomination of a pod that is gone or goes to `node`; room kept on another node may help others."""
        nominated = self.snapshot.forget_nominee(uid)
        if nominated and nominated != node:
            self.queue.wake(POD_REMOVED)

    def _pod_gone(self, uid: str) -> None:
        self.queue.discard(uid)
        self._end_nomination(uid)
        if self.snapshot.node_of(uid):
            self.snapshot.remove(uid)
            self.queue.wake(POD_REMOVED)

    def _pod_placed(self, before: Pod | None, after: Pod) -> None:
        uid, node = after.metadata.uid, after.spec.nodeName
        self.queue.discard(uid)
        known = self.snapshot.find(uid)
        if known is not None and self.snapshot.node_of(uid) == node:
            same = known.pod.spec.containers == after.spec.containers
            if same and known.labels == after.metadata.labels:
                known.pod = after
                if before is None or not before.spec.nodeName:
                    self.queue.wake(POD_PLACED)
                return
        self._end_nomination(uid, node)
        self.snapshot.place(PodInfo(after), node)
        self.queue.wake(POD_PLACED)
        if before is not None and before.spec.nodeName:
            # It was resized or relabelled in place, which may free resources or satisfy a term.
            self.queue.wake(POD_REMOVED)

    def _pod_waits(self, before: Pod | None, after: Pod) -> None:
        uid = after.metadata.uid
        if self.snapshot.node_of(uid):
            return  # its binding is in flight
        known = self.queue.get(uid)
        if known is None or before is None or _pod_facts(before) != _pod_facts(after):
            info = PodInfo(after)
            self.queue.add(info)
            self.snapshot.update_nominee(info)
        else:
            known.pod = after

    def _volume_changed(self, _before: Kind | None, _after: Kind | None) -> None:
        self.queue.wake(VOLUME)

    def _is_ours(self, pod: Pod) -> bool:
        return (
            (pod.spec.schedulerName or NAME) == self._name
            and pod.metadata.deletionTimestamp is None
            and not pod.spec.schedulingGates
        )

    # --- placing

    async def _place_pods(self) -> None:
        while True:
            # A pod is taken once its binding may start, so it is decided on as it is then, and the most urgent first.
            await self._bindings.acquire()
            binding = None
            try:
                binding = await self._attempt(await self.queue.get_next())
            finally:
                if binding is None:
                    self._bindings.release()
            # Other tasks get a turn of the loop between two decisions.
            await asyncio.sleep(0)

    async def _attempt(self, waiting: Waiting) -> asyncio.Task[None] | None:
        """Schedule one pod as `_place` does; a failure requeues it with back-off."""
        try:
            return await self._place(waiting)
        except Exception:
            # An exception for one pod must not stop the placing of others.
            self._failed.increase()
            log.exception("pod not judged", extra={"pod": "/".join(waiting.info.key)})
            self.queue.give_back(waiting, NOTHING_BUT_TIME)
            return None
        except asyncio.CancelledError:
            # If only what is awaited was cancelled, this task is restarted, and must find the pod queued.
            self.queue.give_back(waiting, NOTHING_BUT_TIME)
            raise

    async def _place(self, waiting: Waiting) -> asyncio.Task[None] | None:
        """Schedule one pod; return the task that binds it, None if it fits no node or was requeued."""
        info = waiting.info
        loop = asyncio.get_running_loop()
        started = loop.time()
        LOOP_LAG.sample()
        if info.cost_bytes > INLINE_WORK.value:
            await self._offload.run(info.cost_bytes, info.prepare)
        claims: ClaimState | None = None
        try:
            if info.pod.spec.resourceClaims or info.device_resources:
                claims = await self._claims_of(info)
            (node, volumes), _ = await in_turns(self._decider.choose(info, claims))
        except Unschedulable as refused:
            self._unschedulable.increase()
            explanation = self._explain(waiting, refused, claims)
            self._tasks.start(explanation, name=f"explain {info.key}")
            return None
        except ClaimNotMade:
            self.queue.give_back(waiting, frozenset({FILTER}))
            return None
        except NotPrepared:
            self.queue.give_back(waiting, NOTHING_BUT_TIME)
            return None
        except AllocationFailed as error:
            self._failed.increase()
            # As upstream, repeated with back-off and not at an event.
            self.queue.give_back(waiting, NOTHING_BUT_TIME)
            self._tasks.start(self._explain_failure(info, error), name=f"explain {info.key}")
            return None
        finally:
            DECISION_SECONDS.observe(loop.time() - started)
        if not self.queue.holds(waiting):
            return None  # it was deleted, or bound by another, meanwhile
        preparation = None
        if volumes is not None and volumes.is_current():
            preparation = volumes.preparation(node)
        is_outdated = claims is not None and not claims.is_current(node.name)
        if is_outdated or waiting.info is not info or (volumes is not None and preparation is None):
            # The pod or a claim changed. With back-off, so that a pod that changes all the time delays no other.
            self.queue.give_back(waiting, NOTHING_BUT_TIME)
            return None
        self._end_nomination(info.uid, node.name)
        self.snapshot.place(info, node.name)
        if self._loads is not None:
            self._loads.place(info, node.name)
        reservation = None
        if claims is not None and self._devices is not None:
            reservation = claims.reservation(node.name)
            self._devices.assume(reservation)
        binding = self._bind(waiting, node.name, preparation, reservation)
        return self._tasks.start(binding, name=f"bind {info.key}")

    async def _claims_of(self, info: PodInfo) -> "ClaimState | None":
        """Return the resource claims of a pod, None if it needs none. Raises ClaimNotMade and AllocationFailed."""
        if info.device_resources:
            info.device_classes = await self._classes_for(info.device_resources)
        pod = info.pod
        is_named = pod.status.extendedResourceClaimStatus is not None
        if not (pod.spec.resourceClaims or info.device_classes or is_named):
            return None
        if self._devices is None:
            from kubelite.control.scheduler.devices.manager import Devices

            self._devices = Devices(
                mirrors=self._mirrors,
                clock=self._clock,
                randomness=self._randomness,
                offload=self._offload,
                wake=lambda: self.queue.wake(DEVICE),
                wake_pod=lambda uid: self.queue.wake_one(uid, DEVICE),
            )
        await self._devices.synced()
        return await self._devices.read(info)

    async def _classes_for(self, resources: Iterable[str]) -> Mapping[str, str]:
        """Return the device classes that serve extended resources."""
        if self._classes is None:
            from kubelite.control.scheduler.devices.classes import DeviceClasses

            self._classes = DeviceClasses(self._mirrors, lambda: self.queue.wake(DEVICE_CLASS))
        await self._classes.synced()
        return self._classes.serving(resources)

    async def _bind(
        self,
        waiting: Waiting,
        node: str,
        preparation: Preparation | None,
        reservation: Reservation | None,
    ) -> None:
        info = waiting.info
        namespace, name = info.key
        holds_place = True  # among the bindings in flight
        try:
            if reservation is not None and self._devices is not None:
                unready = await self._devices.reserve(self._client, info.pod, reservation)
                if unready:
                    message = f"waiting for binding conditions for device on node {node}"
                    self._events.event(
                        info.pod, NORMAL, "BindingConditionsPending", message, action="Scheduling"
                    )
                    self._bindings.release()
                    holds_place = False
                    await self._devices.wait_ready(unready)
                    await self._bindings.acquire()
                    holds_place = True
            if preparation is not None and (preparation.bind or preparation.provision):
                await self._volumes.prepare(self._client, preparation, node)
                # A provisioner may take minutes, and as many pods as there are places must not stop all others.
                self._bindings.release()
                holds_place = False
                await self._volumes.wait_bound(preparation, node)
                await self._bindings.acquire()
                holds_place = True
            body = Binding(
                metadata=ObjectMeta(name=name, namespace=namespace, uid=info.uid),
                target=ObjectReference(kind="Node", name=node),
            )
            await self._client.post(Pod, name, "binding", body, namespace)
        except (APIError, TimeoutError, ProvisioningFailed) as error:
            await self._unreserve(info, reservation)
            self._not_bound(waiting, error)
        except (AllocationLost, DeviceNotReady) as error:
            await self._unreserve(info, reservation)
            self._not_bound(waiting, error)
            message = f'running PreBind plugin "{FILTER}": {error}'
            self._events.event(info.pod, WARNING, "FailedScheduling", message, action="Scheduling")
        except Exception as error:
            # The pod must not stay assumed on a node that it is not bound to.
            await self._unreserve(info, reservation)
            self._not_bound(waiting, error)
            raise
        else:
            self._scheduled.increase()
            self.queue.discard(info.uid)
            message = f"Successfully assigned {namespace}/{name} to {node}"
            self._events.event(info.pod, NORMAL, "Scheduled", message, action="Binding")
        finally:
            if holds_place:
                self._bindings.release()

    async def _unreserve(self, info: PodInfo, reservation: Reservation | None) -> None:
        if reservation is not None and self._devices is not None:
            await self._devices.unreserve(self._client, info.pod, reservation)

    def _not_bound(self, waiting: Waiting, error: Exception) -> None:
        """Remove the assumed pod from its node and requeue it after its back-off, unless it is deleted or bound."""
        info = waiting.info
        self._failed.increase()
        if self._loads is not None:
            self._loads.withdraw(info.uid)
        log.warning("pod not bound", extra={"pod": "/".join(info.key), "reason": str(error)})
        current = self._pods.get(info.key[1], info.key[0])
        if current is None or current.metadata.uid != info.uid:
            self.snapshot.remove(info.uid)
            self.queue.discard(info.uid)
            return
        if current.spec.nodeName:
            return  # the mirror's change placed it already
        self.snapshot.remove(info.uid)
        # Other pods may have been refused for want of the room that it was assumed to take.
        self.queue.wake(POD_REMOVED)
        waiting.info = PodInfo(current)  # changes that arrived while it was assumed were ignored
        self.queue.give_back(waiting, NOTHING_BUT_TIME)

    # --- when there is no node

    async def _explain(
        self, waiting: Waiting, refused: Unschedulable, claims: "ClaimState | None"
    ) -> None:
        """Make the pod unschedulable, preempt other pods if that helps, and write the event and the condition."""
        info = waiting.info
        outcome, causes = await self._preemption_for(waiting, refused, claims)
        if not self.queue.holds(waiting):
            return  # it was deleted meanwhile
        nominated = self._nominate(info, outcome)
        # Before anything is written, so that an event that helps finds the pod unschedulable.
        self.queue.give_back(waiting, causes)
        candidate = outcome.candidate
        if candidate is not None and not await self._make_room(waiting, info, candidate):
            nominated = ""
        note = await self._deallocation_for(claims) if claims is not None else ""
        notes = ", ".join(one for one in (note, outcome.message) if one)
        message = f"{refused} {notes}".strip()
        self._events.event(info.pod, WARNING, "FailedScheduling", message, action="Scheduling")
        await self._try_to_report(info, message, nominated)

    async def _try_to_report(
        self, info: PodInfo, message: str, nominated: str | None, reason: str = "Unschedulable"
    ) -> None:
        try:
            await self._report(info, message, nominated, reason)
        except NotFound:
            return
        except APIError as error:
            log.warning(
                "pod status not written",
                extra={"pod": "/".join(info.key), "reason": error.message},
            )

    async def _deallocation_for(self, claims: "ClaimState") -> str:
        """Take back the devices of a claim that keeps its pod from nodes, so that others are found; return a note."""
        if claims.has_leftover and self._devices is not None:
            return await self._remove_leftover(claims, self._devices)
        if claims.failure or self._devices is None:
            return "no new claims to deallocate"
        claim = claims.deallocatable()
        if claim is None:
            return "still not schedulable"
        try:
            await self._devices.deallocate(self._client, claim)
        except APIError as error:
            return error.message
        return "deallocation of ResourceClaim completed"

    async def _remove_leftover(self, claims: "ClaimState", devices: "Devices") -> str:
        """Delete the claim that an earlier attempt has made, which is found anew then; return a note."""
        try:
            await devices.remove_extended(self._client, claims.pod, claims.leftover)
        except APIError as error:
            return error.message
        return "deletion of ResourceClaim completed"

    async def _explain_failure(self, info: PodInfo, error: AllocationFailed) -> None:
        """Write the event and the condition of a pod whose claims cannot be judged."""
        message = f'running "{FILTER}" filter plugin: {error}'
        self._events.event(info.pod, WARNING, "FailedScheduling", message, action="Scheduling")
        await self._try_to_report(info, message, None, reason="SchedulerError")

    async def _preemption_for(
        self, waiting: Waiting, refused: Unschedulable, claims: "ClaimState | None"
    ) -> tuple[Outcome, frozenset[str]]:
        """Return what preemption can do for a refused pod, and the filters whose events requeue the pod.

        A failure, and a change of what the decision is based on, requeue it with back-off.
        """
        info = waiting.info
        if not refused.total:
            return Outcome(), refused.causes
        try:
            # One at a time, else two pods would be nominated for the same room.
            async with self._preempting:
                if not self.queue.holds(waiting):
                    return Outcome(), refused.causes
                steps = preempt(self._decider, info, refused, self._budgets_of, claims)
                outcome, _ = await in_turns(steps)
        except Exception:
            log.exception("preemption failed", extra={"pod": "/".join(info.key)})
            return Outcome(), NOTHING_BUT_TIME
        is_outdated = outcome.is_outdated or waiting.info is not info
        if is_outdated:
            return Outcome(), NOTHING_BUT_TIME
        fits_now = outcome.candidate is not None and not outcome.candidate.victims
        return outcome, NOTHING_BUT_TIME if fits_now else refused.causes

    def _nominate(self, info: PodInfo, outcome: Outcome) -> str | None:
        """Nominate the candidate's node; return what to write as the nominated node, None for no change."""
        if outcome.candidate is not None:
            node = outcome.candidate.node
            self._end_nomination(info.uid, node)
            self.snapshot.nominate(info, node)
            return node
        if outcome.ends_nomination:
            self._end_nomination(info.uid)
            return ""
        return None

    async def _report(
        self, info: PodInfo, message: str, nominated: str | None, reason: str
    ) -> None:
        """Write the PodScheduled condition, and the nominated node ("": none), where they changed."""
        pod = self._pods.get(info.key[1], info.key[0])
        if pod is None or pod.metadata.uid != info.uid or pod.spec.nodeName:
            return
        current = condition(pod, "PodScheduled")
        status: dict[str, Any] = {}
        if current is None or (current.status, current.message) != ("False", message):
            changed = current is None or current.status != "False"
            date = format_time(self._clock.now()) if changed else current.lastTransitionTime  # type: ignore[union-attr]  # changed is true if it is None
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": date,
                    "observedGeneration": pod.metadata.generation,
                }
            ]
        if nominated is not None and nominated != pod.status.nominatedNodeName:
            status["nominatedNodeName"] = nominated or None
        if status:
            await self._client.patch(
                Pod,
                pod.metadata.name,
                {"metadata": {"uid": pod.metadata.uid}, "status": status},
                pod.metadata.namespace,
                patch_type="strategic",
                subresource="status",
            )

    async def _make_room(self, waiting: Waiting, info: PodInfo, candidate: Candidate) -> bool:
        """Evict the victims; after a failure drop the nomination, requeue the pod with back-off and return False."""
        try:
            for victim in candidate.victims:
                if self.snapshot.nomination_of(info.uid) != candidate.node:
                    return True  # the pod is gone or placed meanwhile, so no other pod need leave
                await self._evict(info, victim, candidate.node)
        except Exception as error:
            extra = {"pod": "/".join(info.key), "node": candidate.node, "reason": str(error)}
            log.warning("victim not evicted", extra=extra, exc_info=not isinstance(error, APIError))
            self._end_nomination(info.uid)
            self.queue.retry_unschedulable(waiting)
            return False
        return True

    async def _evict(self, info: PodInfo, victim: Pod, node: str) -> None:
        meta = victim.metadata
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{self._name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._clock.now()),
        }
        try:
            await self._client.patch(
                Pod,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": {"conditions": [target]}},
                meta.namespace,
                patch_type="strategic",
                subresource="status",
            )
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        except (NotFound, Conflict):
            current = self._pods.get(meta.name, meta.namespace)
            if current is None or current.metadata.uid != meta.uid:
                return  # the victim is gone, and another pod may have its name
            raise
        message = f"Preempted by pod {info.uid} on node {node}"
        self._events.event(victim, NORMAL, "Preempted", message, action="Preempting")


def _node_facts(node: Node) -> tuple[object, ...]:
    """Return what of a node matters here; heartbeats change none of it."""
    return (
        node.metadata.labels,
        node.spec.taints,
        node.spec.unschedulable,
        node.status.allocatable,
        storage_room(node),
    )


def _pod_facts(pod: Pod) -> tuple[object, ...]:
    """Return what of a waiting pod matters here; of its status the names of its claims."""
    return (
        pod.spec,
        pod.metadata.labels,
        pod.metadata.deletionTimestamp,
        pod.status.resourceClaimStatuses,
        pod.status.extendedResourceClaimStatus,
    )
