"""Reconciles each pod of the node: observe, plan, act, write the status if it changed, until nothing is left to do.

Each pod is a key of one work queue: it never has two workers, and a change during the work requeues it. There is no
fixed number of workers: a pod that is being started must not keep another from being stopped.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import APIError, failure_kind
from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.log import Complaint
from kubelite.node import preemption
from kubelite.node.admission import (
    REJECTED,
    Rejection,
    rejection,
    resize_refusal,
    shortages,
    unexpected,
    unsuited,
    unsupported,
)
from kubelite.node.dead_containers import beyond_total, ended_containers, newest_ids
from kubelite.node.dependencies import ActionDependencies, Collaborators, NodeFacts
from kubelite.node.devices.protocol import AllocationFailed, DevicesBusy
from kubelite.node.lifecycle import (
    FinishDeletion,
    Plan,
    TearDown,
    deadline_of,
    plan,
    plan_orphan,
)
from kubelite.node.live_node import LiveNode, NodeView
from kubelite.node.observed import Ending, Observed
from kubelite.node.pod_actions import PodActions
from kubelite.node.pod_memory import ContainerState, PodMemory
from kubelite.node.pods import (
    all_containers,
    grace_seconds,
    is_critical,
    is_terminal,
    pod_key,
    reference_to,
)
from kubelite.node.resizing import (
    asked_resources,
    known_resources,
    resize_message,
    with_allocated,
)
from kubelite.node.runtime import ContainerRecord, EngineUnavailable
from kubelite.node.static_pods import is_static
from kubelite.node.status import Host, rejected_status, status_of
from kubelite.node.status_writer import StatusWriter, status_patch
from kubelite.node.volumes.followed import differs_as_shown, shows_itself
from kubelite.node.volumes.plugins import VolumeBusy
from kubelite.tasks import TaskSet, all_to_their_end
from kubelite.workqueue import WorkQueue

log = logging.getLogger(__name__)

ROUNDS_LIMIT = 100  # a plan that never comes to rest is a bug, not a reason to spin
ORPHAN_GRACE_SECONDS = 30
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class PodWorker:
    """Brings the pods of one node to what the API says."""

    def __init__(self, facts: NodeFacts, parts: Collaborators) -> None:
        self._facts = facts
        self._parts = parts
        self._clock = parts.clock
        self._events = parts.events
        self._tasks = TaskSet()
        self._status = StatusWriter(parts.client, parts.events, self._tasks, self._report_again)
        self._complaint = Complaint()
        self._news = TaskSet()  # handles ends of containers, also before and after `run`
        self._queue: WorkQueue[str] = WorkQueue(
            name="pod_workers", retry_first_seconds=0.1, retry_max_seconds=60.0
        )
        self.memories: dict[str, PodMemory] = {}
        self._are_all_known = True
        self._is_held = False
        self._surplus: frozenset[str] = frozenset()  # as found last
        self._left_volumes: set[str] = set()  # by uid, of pods that the API has not told yet
        # Each returns why the node takes no such pod now, or None; a pod that has containers is not asked about.
        self.admission_checks: list[Callable[[Pod], Rejection | None]] = []
        # Called with the key (namespace/name) of a static pod once nothing of it is left.
        self.on_static_removed: Callable[[str], None] = lambda _: None
        self.node = LiveNode(parts.client, NodeView(facts.name, facts.allocatable, facts.labels))
        shared = self._shared = ActionDependencies(
            facts, parts, self._tasks, self.wake, self.node, self._admitted_pods
        )
        self._actions = PodActions(shared)

    def _report_again(self, uid: str, seconds: float) -> None:
        if uid in self.memories:
            self._queue.add_after(uid, seconds)

    def _wake_all(self) -> None:
        for uid in self.memories:
            self.wake(uid)

    def wake(self, uid: str) -> None:
        """Enqueue a pod, if it is known."""
        if uid in self.memories:
            self._queue.add(uid)

    def retry(self, uid: str) -> None:
        """Have a pod whose claims could not be prepared try again at once, if it is known."""
        memory = self.memories.get(uid)
        if memory is not None:
            memory.retry_claims(self._clock.now())
        self.wake(uid)

    def memory(self, uid: str) -> PodMemory:
        """Return the state of a pod, created if it is new."""
        if uid not in self.memories:
            self.memories[uid] = PodMemory(uid)
        return self.memories[uid]

    def active_pods(self) -> list[Pod]:
        """Return the pods that are to run or are running, of the API and static ones."""
        known = ((memory, memory.current) for memory in self.memories.values())
        return [pod for memory, pod in known if pod and not memory.gone and not is_terminal(pod)]

    def end(self, uid: str, ending: Ending) -> None:
        """End a pod that is not deleted; an end that was begun before keeps its reason, and only gets shorter."""
        memory = self.memories.get(uid)
        if memory is None:
            return
        if memory.ending is not None:
            ending = replace(memory.ending, grace_seconds=ending.grace_seconds)
        memory.ending = ending
        self.wake(uid)

    async def at_rest(self, uid: str) -> None:
        """Wait until nothing of a pod that ends runs, and its status says so."""
        if (memory := self.memories.get(uid)) is not None:
            await memory.at_rest.wait()

    def follow_node(self) -> Callable[[], None]:
        """Follow the Node's labels, taints and resources; return the call that ends it."""
        return self.node.subscribe(self._node_changed)

    def expect_more(self) -> None:
        """Take no pod for deleted until `all_known`: the API has not told its pods yet."""
        self._are_all_known = False

    def all_known(self) -> None:
        """Act on what is left of pods that are neither in the API nor static."""
        self._are_all_known = True
        for uid in self._left_volumes & self.memories.keys():
            memory = self.memories[uid]
            if memory.pod is not None and is_terminal(memory.pod):
                memory.volumes_ready = True
        self._left_volumes.clear()
        self._wake_all()

    def hold(self) -> None:
        """Work on no pod until `release`: the engine is not ready for any."""
        self._is_held = True

    def release(self) -> None:
        """End `hold`."""
        self._is_held = False
        self._wake_all()

    def mirror_changed(self, uid: str, mirror: Pod | None) -> None:
        """Store the mirror pod of a static pod."""
        if (memory := self.memories.get(uid)) is not None:
            memory.update_mirror(mirror)
            self.wake(uid)

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Store a change of a pod in the API, and enqueue the pods that it concerns."""
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            memory = self.memory(before.metadata.uid)
            memory.update_pod(before)
            memory.gone = True
            self.wake(memory.uid)
        if after is not None:
            memory = self.memory(after.metadata.uid)
            memory.update_pod(after, before)
            self.wake(memory.uid)
            if before is not None and differs_as_shown(before, after) and shows_itself(after):
                self._actions.volumes.changed(memory.uid)
        if after is None or is_terminal(after) or (before and before.spec != after.spec):
            self._room_changed()

    def containers_listed(self, records: Sequence[ContainerRecord]) -> None:
        """Store all containers of the engine; those that were known and are not listed are gone."""
        present = {record.id for record in records}
        for memory in list(self.memories.values()):
            for container_id in [known for known in memory.records if known not in present]:
                self._forget(memory, container_id)
        for record in records:
            self.memory(record.pod_uid).update_container(record)
            self._shared.user_namespaces.restore(record.pod_uid, record.labels)

    async def restore(self, records: Sequence[ContainerRecord]) -> None:
        """Recover after a restart: re-attach running sandboxes, and find the volumes that deleted pods left."""
        live = _live_sandboxes(records)
        await self._parts.network.restore({uid: sandbox.pid for uid, sandbox in live.items()})
        # A pod without its addresses would be reported and probed without them.
        for uid, sandbox in live.items():
            memory = self.memory(uid)
            if memory.pod is not None:
                await self._actions.sandboxes.attach(memory, memory.pod, sandbox)
        await self._parts.logs.add(records)
        for uid in self._parts.devices.leftovers():
            self.memory(uid)  # of a pod that is gone, its claims are given back
        for uid in await self._parts.volumes.leftovers():
            memory = self.memory(uid)
            # Of a pod that has ended they may have outlived the last run, so they are to be removed.
            memory.volumes_ready = memory.pod is not None and is_terminal(memory.pod)
            if memory.pod is None and not self._are_all_known:
                self._left_volumes.add(uid)

    def container_changed(self, record: ContainerRecord) -> None:
        """Store a change of a container, and enqueue its pod; after its end once its message has been read."""
        memory = self.memory(record.pod_uid)
        before = memory.records.get(record.id)
        memory.update_container(record)
        ended = record.phase == "exited" and (before is None or before.phase != "exited")
        if ended or (record.phase == "exited" and memory.container(record.id).message is None):
            _forget_addresses(memory, record)
            work = self._ended(memory, record, memory.container(record.id))
            self._news.start(work, name=f"end of {record.name}")
        else:
            self.wake(memory.uid)

    def container_gone(self, container_id: str) -> None:
        """Drop a container that was removed, if it is known."""
        for memory in self.memories.values():
            if container_id in memory.records:
                self._forget(memory, container_id)
                return

    async def stop_following(self) -> None:
        """Cancel the handling of containers that have ended."""
        await self._news.stop()

    async def _ended(
        self, memory: PodMemory, record: ContainerRecord, state: ContainerState
    ) -> None:
        try:
            await self._actions.ends.ended(memory, record, state)
        finally:
            self.wake(memory.uid)

    def _forget(self, memory: PodMemory, container_id: str) -> None:
        record = memory.records[container_id]
        if record.is_running:
            _forget_addresses(memory, record)
        state = memory.forget(container_id)
        self._news.start(self._ended(memory, record, state), name=f"end of {record.name}")
        self._news.start(self._parts.logs.remove(record), name=f"log of {record.name}")

    def move(self, addresses: tuple[str, ...]) -> None:
        """Follow new addresses of the node, the primary one first."""
        if addresses == self._facts.addresses:
            return
        self._facts = replace(self._facts, addresses=addresses)
        self._actions.move(self._facts, self.memories.values())
        self._wake_all()

    async def run(self) -> None:
        """Work until cancelled."""
        end = self._parts.client.on_return(self._wake_all)
        try:
            while True:
                uid = await self._queue.get()
                self._tasks.start(self._work(uid), name=f"pod {uid}")
        finally:
            end()
            await self._tasks.stop()
            for memory in self.memories.values():
                for state in memory.containers.values():
                    if state.probes is not None:
                        await state.probes.stop()

    async def _work(self, uid: str) -> None:
        try:
            await self._attend(uid)
        finally:
            self._queue.done(uid)

    async def _attend(self, uid: str) -> None:
        memory = self.memories.get(uid)
        if memory is None or self._is_held or (memory.pod is None and not self._are_all_known):
            return
        try:
            wait_seconds = await self.reconcile(memory)
        except EngineUnavailable as error:
            log.debug("pod waits for the container engine: %s", error)
            self._queue.retry(uid)
        except APIError as error:
            if self._complaint.is_new(failure_kind(error)):
                log.warning("cannot report pod: %s", error, extra={"pod": uid})
            self._queue.retry(uid)
        except (VolumeBusy, DevicesBusy) as error:
            log.warning("pod waits for what it had: %s", error, extra={"pod": uid})
            self._queue.retry(uid)
        except Exception:
            log.exception("cannot sync pod", extra={"pod": uid})
            self._queue.retry(uid)
        else:
            self._queue.forget(uid)
            if wait_seconds is not None:
                self._queue.add_after(uid, wait_seconds)

    async def reconcile(self, memory: PodMemory) -> float | None:
        """Reconcile one pod as far as possible now; return the seconds after which to requeue it, or None."""
        for _ in range(ROUNDS_LIMIT):
            now = self._clock.now()
            pod = memory.current
            if memory.gone or pod is None:
                return await self._remove_orphan(memory, now)
            if is_static(pod) and self._has_predecessor(memory, pod):
                return None  # enqueued when that is removed
            if not memory.admitted and not await self._admit(memory, pod, now):
                return None
            pod = self._allocate(memory, pod)
            self._note_ending(memory, pod, now)
            if is_terminal(pod):
                self._actions.volumes.rest(memory)
            else:
                await self._actions.volumes.refresh(memory, pod)
            self._actions.probing.start_missing(memory, pod)
            await self._actions.ends.note_ended(memory)
            memory.devices = self._parts.devices.statuses(pod)
            observed = memory.observe()
            surplus = self._surplus_now(memory, now)
            decision = plan(pod, observed, now, self._facts.dead_containers, surplus)
            status = status_of(
                pod, observed, now, Host(self._facts.addresses, self._facts.recursive_read_only)
            )
            self._note_backoff(memory, pod, observed, status)
            if status.phase in {"Succeeded", "Failed"} and not observed.running():
                await self._unprepare(memory, pod, status)
            if not await self._advance(memory, pod, observed, decision, status):
                self._note_rest(memory, pod)
                refresh_at = memory.refresh_at if memory.volumes_ready else None
                return _sooner(decision.wait_seconds, refresh_at, now)
        raise AssertionError(f"pod {memory.uid} does not come to rest")

    def _surplus_now(self, asking: PodMemory, now: datetime) -> frozenset[str]:
        """Return the ids of ended containers that are too many for the node; the other pods that have one are woken."""
        policy = self._facts.dead_containers
        if policy.total < 0:
            return frozenset()
        units: list[list[ContainerRecord]] = []
        kept: set[str] = set()
        for memory in self.memories.values():
            if (pod := memory.current) is None or memory.gone:
                continue  # all of it is removed anyway
            units += ended_containers(memory.records.values(), policy, now)
            if not is_terminal(pod):
                kept |= newest_ids(memory.records.values())
        before, self._surplus = self._surplus, beyond_total(units, frozenset(kept), policy.total)
        if new := self._surplus - before:
            for memory in self.memories.values():
                if memory is not asking and new & memory.records.keys():
                    self.wake(memory.uid)
        return self._surplus

    async def _unprepare(self, memory: PodMemory, pod: Pod, status: PodStatus) -> None:
        """Give back the claims of a pod that is over. Raises DevicesBusy.

        Once the API is told that it is over, its devices may be given to others, so until then its phase stays.
        """
        try:
            await self._parts.devices.unprepare(memory.uid)
        except DevicesBusy:
            phase = pod.status.phase or "Pending"
            await self._status.report(memory, pod, replace(status, phase=phase))
            raise

    def _note_rest(self, memory: PodMemory, pod: Pod) -> None:
        is_ending = memory.ending is not None or pod.metadata.deletionTimestamp is not None
        is_at_rest = is_ending and not any(one.is_running for one in memory.records.values())
        is_told = memory.unwritten is None or is_static(pod)
        if is_at_rest and is_told:
            memory.at_rest.set()

    async def _advance(
        self, memory: PodMemory, pod: Pod, observed: Observed, decision: Plan, status: PodStatus
    ) -> bool:
        """Carry out a plan and write the status; return whether to plan again at once."""
        if any(isinstance(action, FinishDeletion) for action in decision.actions):
            # Watchers must see how the containers ended before the pod is deleted.
            await self._status.write(memory, pod, status)
            await self._actions.carry_out(memory, decision.actions)
            return False
        await all_to_their_end(
            self._status.report(memory, pod, status),
            self._actions.carry_out(memory, decision.actions),
        )
        after = memory.observe()
        return bool(decision.actions) and after != observed

    async def _remove_orphan(self, memory: PodMemory, now: datetime) -> float | None:
        memory.stop_restarting_probes()
        grace = ORPHAN_GRACE_SECONDS if memory.pod is None else grace_seconds(memory.pod)
        decision = plan_orphan(memory.observe(), grace, now, memory.pod)
        await self._actions.carry_out(memory, decision.actions)
        if any(isinstance(action, TearDown) for action in decision.actions):
            self.memories.pop(memory.uid, None)
            self._shared.user_namespaces.release(memory.uid)
            memory.at_rest.set()
            self._queue.forget(memory.uid)
            self._room_changed()
            if memory.pod is not None and is_static(memory.pod):
                self._static_removed(pod_key(memory.pod))
        return decision.wait_seconds

    def _has_predecessor(self, memory: PodMemory, pod: Pod) -> bool:
        """Return whether another version of a static pod is still being removed: two would share name and ports."""
        return any(
            other.gone and other.pod is not None and pod_key(other.pod) == pod_key(pod)
            for other in self.memories.values()
            if other is not memory
        )

    def _static_removed(self, key: str) -> None:
        self.on_static_removed(key)
        for uid, memory in self.memories.items():
            if memory.pod is not None and pod_key(memory.pod) == key:
                self.wake(uid)

    async def _admit(self, memory: PodMemory, pod: Pod, now: datetime) -> bool:
        """Check once that the pod fits beside those already here; one that has containers was checked before."""
        refusal = None
        is_over = is_terminal(pod) or pod.metadata.deletionTimestamp is not None
        if not memory.records and not is_over:
            refusal = await self._refusal(memory, pod)
        if refusal is not None:
            await self._parts.devices.release(memory.uid)
        if refusal is None:
            memory.admitted = True
            memory.allocated = known_resources(pod) if memory.records else asked_resources(pod)
            return True
        message = refusal.message.removeprefix(REJECTED)
        self._events.event(reference_to(pod), WARNING, refusal.reason, message)
        status = rejected_status(pod, refusal.reason, refusal.message, now)
        if is_static(pod):
            await self._status.report(memory, pod, status)
            self.wake(memory.uid)
        else:
            await self._status.patch(memory, pod, status_patch(pod.status, status))
        return False

    async def _refusal(self, memory: PodMemory, pod: Pod) -> Rejection | None:
        facts = self._facts
        for check in self.admission_checks:
            if refusal := check(pod):
                return refusal
        refusal = unsupported(pod, facts.sysctls, enforces_apparmor=facts.enforces_apparmor)
        # An admitted pod keeps its place. Its status proves no more than that, since others may write it too.
        if refusal is not None or pod.status.startTime:
            return refusal
        try:
            await self._parts.devices.allocate(pod)
        except AllocationFailed as error:
            return unexpected(f"Allocate failed due to {error}, which is unexpected")
        if rejection(pod, self._others(memory), self.node.view) is None:
            return None
        # The scheduler may have seen a newer Node than this node's mirror, so read it before refusing.
        view = await self.node.read()
        refusal = rejection(pod, self._others(memory), view)
        return await self._make_room(memory, pod, view) if refusal and is_critical(pod) else refusal

    async def _make_room(self, memory: PodMemory, pod: Pod, view: NodeView) -> Rejection | None:
        """End lesser pods for a critical one and wait until their containers have; return why it cannot be, or None."""
        others = self._others(memory)
        if refusal := unsuited(pod, others, view):
            return refusal
        lacks = list(shortages(pod, others, view))
        victims = preemption.pods_to_preempt(pod, others, lacks)
        if victims is None:
            return preemption.refused(lacks)
        memory.admitted, memory.allocated = True, asked_resources(pod)  # the room is its own now
        for victim in victims:
            about = reference_to(victim)
            self._events.event(about, WARNING, preemption.REASON, preemption.MESSAGE)
            self.end(victim.metadata.uid, preemption.ENDING)
        for ending in [self.memories[victim.metadata.uid] for victim in victims]:
            for record in [one for one in ending.records.values() if not one.is_sandbox]:
                await ending.ended(record.id)
        return None

    def _others(self, memory: PodMemory) -> list[Pod]:
        """Return the admitted pods except one, with their allocated resources."""
        return self._admitted_pods(memory)

    def _admitted_pods(self, besides: PodMemory | None = None) -> list[Pod]:
        others = (
            (other.current, other.allocated)
            for other in self.memories.values()
            if other is not besides and other.admitted
        )
        return [
            with_allocated(pod, allocated)
            for pod, allocated in others
            if pod is not None and not is_terminal(pod)
        ]

    def _allocate(self, memory: PodMemory, pod: Pod) -> Pod:
        """Allocate the requested resources if they fit; return the pod with its allocated resources."""
        asked = asked_resources(pod)
        if asked == memory.allocated or is_terminal(pod):
            memory.pending_resize = None
        else:
            refusal = resize_refusal(pod, self._others(memory), self.node.view)
            memory.pending_resize = refusal
            if refusal is None:
                memory.allocated = asked
                if shows_itself(pod):
                    self._actions.volumes.changed(memory.uid)
                message = resize_message("Pod resize started", pod)
                self._events.event(reference_to(pod), NORMAL, "ResizeStarted", message)
        return with_allocated(pod, memory.allocated)

    def _node_changed(self) -> None:
        """Wake the pods that the Node's labels, taints or resources concern."""
        self._room_changed()
        for memory in self.memories.values():
            # The downward API shows the node's allocatable in place of a limit that is not set.
            if memory.pod is not None and shows_itself(memory.pod):
                self._actions.volumes.changed(memory.uid)

    def _room_changed(self) -> None:
        """Wake the pods whose resize waits for room on the node."""
        for memory in self.memories.values():
            if memory.pending_resize is not None:
                self.wake(memory.uid)

    def _note_ending(self, memory: PodMemory, pod: Pod, now: datetime) -> None:
        deadline = deadline_of(pod)
        if memory.ending is not None or deadline is None or deadline > now or is_terminal(pod):
            return
        memory.ending = Ending("DeadlineExceeded", DEADLINE_MESSAGE)
        self._events.event(reference_to(pod), NORMAL, "DeadlineExceeded", DEADLINE_MESSAGE)

    def _note_backoff(
        self, memory: PodMemory, pod: Pod, observed: Observed, status: PodStatus
    ) -> None:
        """Record an event for each back-off, once for each ended container."""
        waiting = {
            known.name: known.state.waiting
            for known in (*status.initContainerStatuses, *status.containerStatuses)
        }
        for container in all_containers(pod):
            state, record = waiting.get(container.name), observed.newest(container.name)
            if record is None or state is None or state.reason != "CrashLoopBackOff":
                continue
            remembered = memory.container(record.id)
            if not remembered.told_backoff:
                remembered.told_backoff = True
                message = f"Back-off restarting failed container {container.name} in pod "
                message += f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
                self._events.event(reference_to(pod, container), WARNING, "BackOff", message)


def _live_sandboxes(records: Sequence[ContainerRecord]) -> dict[str, ContainerRecord]:
    """Return the newest running sandbox of each pod; only that has the pod's addresses."""
    running = [one for one in records if one.is_sandbox and one.is_running and one.pid]
    return {one.pod_uid: one for one in sorted(running, key=lambda one: one.attempt)}


def _forget_addresses(memory: PodMemory, ended: ContainerRecord) -> None:
    """Drop the pod's addresses with the sandbox that has them; the end of an older sandbox may be told late."""
    newest = memory.observe().newest_sandbox()
    if ended.is_sandbox and newest is not None and newest.id == ended.id:
        memory.addresses = ()


def _sooner(wait_seconds: float | None, date: datetime | None, now: datetime) -> float | None:
    if date is None:
        return wait_seconds
    seconds = max((date - now).total_seconds(), 0.0)
    return seconds if wait_seconds is None else min(seconds, wait_seconds)
