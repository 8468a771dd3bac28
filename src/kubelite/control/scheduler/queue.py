"""The queue of pods without a node: active ones by priority, others in back-off or unschedulable.

A pod that fits no node stays unschedulable until an event that concerns the filters that refused it requeues it, and is
tried no sooner than its back-off, 1 s doubling to 10 s, allows. Semantics of Kubernetes' scheduling queue.
"""

import asyncio
import heapq
from collections import OrderedDict, deque

from kubelite.backoff import backoff_seconds
from kubelite.control.scheduler.pod_info import PodInfo

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 10.0
WAKE_AT_ONCE = 500  # pods requeued in one turn of the loop: about a millisecond

NODE, POD_REMOVED, POD_PLACED, VOLUME = "node", "pod removed", "pod placed", "volume"
DEVICE = "device"  # a slice, a class, or a claim that has devices no longer
DEVICE_CLASS = "device class"  # it serves other extended resources
ITSELF = "itself"  # the pod changed, so any filter may accept it now
REQUEUE_EVENTS: dict[str, frozenset[str]] = {
    "NodeUnschedulable": frozenset({NODE}),
    "NodeName": frozenset({NODE}),
    "TaintToleration": frozenset({NODE}),
    "NodeAffinity": frozenset({NODE}),
    "NodePorts": frozenset({NODE, POD_REMOVED}),
    "NodeResourcesFit": frozenset({NODE, POD_REMOVED, DEVICE_CLASS}),
    "InterPodAffinity": frozenset({NODE, POD_REMOVED, POD_PLACED}),
    "PodTopologySpread": frozenset({NODE, POD_REMOVED, POD_PLACED}),
    "NodeVolumeLimits": frozenset({NODE, VOLUME, POD_REMOVED}),
    "VolumeBinding": frozenset({NODE, VOLUME, POD_REMOVED}),
    "DynamicResources": frozenset({NODE, DEVICE}),
}
# The attempt failed, or what it was based on changed meanwhile, so no event requeues the pod; its back-off does.
NOTHING_BUT_TIME: frozenset[str] = frozenset()


class Waiting:
    """A pod in the queue, with its state."""

    __slots__ = ("attempts", "causes", "events_while_trying", "info", "ready_at", "since", "state")

    def __init__(self, info: PodInfo, since: float) -> None:
        self.info = info
        self.since = since
        self.attempts = 0
        self.causes: frozenset[str] = frozenset()  # the filters that refused it
        self.ready_at = 0.0  # when its back-off ends
        self.state = "active"  # active, backoff, unschedulable, trying, or gone
        self.events_while_trying: set[str] = (
            set()
        )  # a pod refused meanwhile is requeued if one of them concerns it


class SchedulingQueue:
    """Pods without a node; each is in one state. Takes events by `wake`, hands out pods by `get_next`."""

    def __init__(self) -> None:
        self._pods: dict[str, Waiting] = {}
        self._active: list[
            tuple[int, float, int, str]
        ] = []  # stale entries have a state that is not active
        self._backoff: list[tuple[float, int, str]] = []
        self._trying: dict[str, Waiting] = {}
        # Unschedulable pods by the filters that refused them, so that an event meets only those it may help.
        self._refused: dict[frozenset[str], OrderedDict[str, Waiting]] = {}
        self._waking: deque[OrderedDict[str, Waiting]] = deque()  # those to be requeued
        self._wakes = False  # whether the rest of them has its turn of the loop
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # when the timer rings; uvloop's handles do not tell
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many pods are queued, in any state."""
        return len(self._pods)

    def count(self, state: str) -> int:
        """Return how many pods are in a state."""
        return sum(1 for waiting in self._pods.values() if waiting.state == state)

    @property
    def idle(self) -> bool:
        """No pod is ready to be tried or being tried."""
        return not self._waking and not any(
            one.state in {"active", "trying"} for one in self._pods.values()
        )

    def get(self, uid: str) -> PodInfo | None:
        """Return a waiting pod as it was last seen."""
        waiting = self._pods.get(uid)
        return waiting.info if waiting else None

    def holds(self, waiting: Waiting) -> bool:
        """Return whether a pod that was handed out still waits for a node."""
        return self._pods.get(waiting.info.uid) is waiting

    def add(self, info: PodInfo) -> None:
        """Enqueue a new pod, or requeue one that changed without back-off."""
        waiting = self._pods.get(info.uid)
        if waiting is None:
            waiting = self._pods[info.uid] = Waiting(info, asyncio.get_running_loop().time())
        elif waiting.state == "trying":
            waiting.info = info
            waiting.events_while_trying.add(ITSELF)
            return
        waiting.info = info
        self._activate(waiting)

    def discard(self, uid: str) -> None:
        """Remove a pod that was deleted or has its node."""
        waiting = self._pods.pop(uid, None)
        if waiting is not None:
            self._set_state(waiting, "gone")

    async def get_next(self) -> Waiting:
        """Wait for an active pod and take the one of highest priority, among equals the oldest. For one caller."""
        loop = asyncio.get_running_loop()
        while True:
            while self._active:
                _, _, _, uid = heapq.heappop(self._active)
                waiting = self._pods.get(uid)
                if waiting is not None and waiting.state == "active":
                    self._set_state(waiting, "trying")
                    waiting.events_while_trying.clear()
                    waiting.attempts += 1
                    return waiting
            self._waiter = loop.create_future()
            await self._waiter

    def give_back(self, waiting: Waiting, causes: frozenset[str]) -> None:
        """Make a pod that fits no node unschedulable by the filters `causes`; without any only back-off applies."""
        if not self.holds(waiting):
            return
        now = asyncio.get_running_loop().time()
        waiting.causes = causes
        waiting.ready_at = now + backoff_seconds(
            waiting.attempts - 1, BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS
        )
        self._set_state(waiting, "unschedulable")
        if not causes or any(_helps(event, causes) for event in waiting.events_while_trying):
            self._wait_or_activate(waiting)

    def retry_unschedulable(self, waiting: Waiting) -> None:
        """Requeue a pod that is still unschedulable once its back-off ends, whatever event it waits for."""
        if self.holds(waiting) and waiting.state == "unschedulable":
            self._wait_or_activate(waiting)

    def wake(self, event: str) -> None:
        """Requeue the unschedulable pods that `event` may make schedulable, some hundreds in a turn of the loop."""
        for waiting in self._trying.values():
            waiting.events_while_trying.add(
                event
            )  # the filters that will refuse it are not known yet
        for causes in [one for one in self._refused if _helps(event, one)]:
            self._waking.append(self._refused.pop(causes))
        if self._waking and not self._wakes:
            self._wake_some()

    def wake_one(self, uid: str, event: str) -> None:
        """Requeue one pod if it is unschedulable and `event`, which concerns no other, may make it schedulable."""
        waiting = self._pods.get(uid)
        if waiting is None:
            return
        if waiting.state == "trying":
            waiting.events_while_trying.add(event)
        elif waiting.state == "unschedulable" and _helps(event, waiting.causes):
            self._wait_or_activate(waiting)

    def _wake_some(self) -> None:
        self._wakes = False
        done = 0
        while self._waking and done < WAKE_AT_ONCE:
            group = self._waking[0]
            while group and done < WAKE_AT_ONCE:
                _, waiting = group.popitem(last=False)
                done += 1
                if waiting.state == "unschedulable" and self.holds(waiting):
                    self._wait_or_activate(waiting)
            if not group:
                self._waking.popleft()
        if self._waking:
            self._wakes = True
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _set_state(self, waiting: Waiting, state: str) -> None:
        """Move a pod to another state, and to or from the collections of those."""
        uid = waiting.info.uid
        if waiting.state == "trying":
            self._trying.pop(uid, None)
        elif waiting.state == "unschedulable":
            group = self._refused.get(waiting.causes)
            if group is not None and group.pop(uid, None) is not None and not group:
                del self._refused[waiting.causes]
        waiting.state = state
        if state == "trying":
            self._trying[uid] = waiting
        elif state == "unschedulable":
            self._refused.setdefault(waiting.causes, OrderedDict())[uid] = waiting

    def close(self) -> None:
        """Drop all pods and cancel the timer."""
        self._pods.clear()
        self._trying.clear()
        self._refused.clear()
        self._waking.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_or_activate(self, waiting: Waiting) -> None:
        if waiting.ready_at <= asyncio.get_running_loop().time():
            self._activate(waiting)
            return
        self._set_state(waiting, "backoff")
        self._sequence += 1
        heapq.heappush(self._backoff, (waiting.ready_at, self._sequence, waiting.info.uid))
        self._set_timer()

    def _activate(self, waiting: Waiting) -> None:
        self._set_state(waiting, "active")
        self._sequence += 1
        info = waiting.info
        heapq.heappush(self._active, (-info.priority, waiting.since, self._sequence, info.uid))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None and self._rings_at <= self._backoff[0][0]:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._backoff[0][0]
        self._timer = asyncio.get_running_loop().call_at(self._rings_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._backoff and self._backoff[0][0] <= now:
            _, _, uid = heapq.heappop(self._backoff)
            waiting = self._pods.get(uid)
            if waiting is not None and waiting.state == "backoff" and waiting.ready_at <= now:
                self._activate(waiting)
        if self._backoff:
            self._set_timer()


def _helps(event: str, causes: frozenset[str]) -> bool:
    return event == ITSELF or any(event in REQUEUE_EVENTS.get(cause, ()) for cause in causes)
