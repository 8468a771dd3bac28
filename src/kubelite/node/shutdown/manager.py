"""Ends the pods of a node before it shuts down, those of low priority first, and takes no new ones meanwhile."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from kubelite.api.client.events import NORMAL, EventRecorder
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.metrics import REGISTRY
from kubelite.node.admission import REJECTED, Rejection
from kubelite.node.observed import Ending
from kubelite.node.pods import DEFAULT_GRACE_SECONDS, is_terminal
from kubelite.node.shutdown.dbus import BusUnavailable, CallFailed
from kubelite.node.shutdown.logind import DelayTooShort
from kubelite.node.shutdown.periods import Period, grouped

log = logging.getLogger(__name__)

RECONNECT_FIRST_SECONDS = 1.0
RECONNECT_MAX_SECONDS = 60.0
REASON = "Terminated"
DISRUPTION = "TerminationByKubelet"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
REFUSAL = Rejection("NodeShutdown", f"{REJECTED}Pod was rejected as the node is shutting down.")
NODE_MESSAGE = "node is shutting down"

# Names are the kubelet's.
STARTED = REGISTRY.gauge(
    "kubelet_graceful_shutdown_start_time_seconds", "When the last shutdown began."
)
ENDED = REGISTRY.gauge(
    "kubelet_graceful_shutdown_end_time_seconds", "When all pods had ended for the last shutdown."
)


class Inhibitor(Protocol):
    """Hears of shutdowns and delays them, as `Logind` does."""

    async def open(self) -> None:
        """Begin to hear of shutdowns, and to delay them."""
        ...

    async def hold(self) -> None:
        """Delay the next shutdown."""
        ...

    def release(self) -> None:
        """Let a delayed shutdown go on."""
        ...

    def shutdowns(self) -> AsyncGenerator[bool, None]:
        """Yield True when a shutdown begins, False when it was cancelled."""
        ...

    def close(self) -> None:
        """Delay no shutdown any more."""
        ...


class RunningPods(Protocol):
    """The pods of the node, as the pod workers run them."""

    def active_pods(self) -> Sequence[Pod]:
        """Return the pods that have not ended."""
        ...

    def end(self, uid: str, ending: Ending) -> None:
        """Begin to end a pod."""
        ...

    async def at_rest(self, uid: str) -> None:
        """Wait until nothing of a pod that ends runs, and its status says so."""
        ...


def ending_of(pod: Pod, period: Period) -> Ending:
    """Return how a pod ends: within the period, or its own grace period if that is shorter."""
    own = pod.spec.terminationGracePeriodSeconds
    seconds = min(DEFAULT_GRACE_SECONDS if own is None else own, period.seconds)
    return Ending(REASON, MESSAGE, seconds, disruption=DISRUPTION)


class NodeShutdown:
    """Ends the pods when the host is about to shut down."""

    def __init__(
        self,
        inhibitor: Callable[[], Inhibitor],
        periods: Sequence[Period],
        pods: RunningPods,
        events: EventRecorder,
        node_name: str,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        """`inhibitor` makes a connection that is not open yet; `changed` is called when the node's status changes."""
        self._inhibitor = inhibitor
        self._periods = periods
        self._pods = pods
        self._events = events
        self._node = ObjectReference(apiVersion="v1", kind="Node", name=node_name, uid=node_name)
        self._clock = clock
        self._changed = changed
        self.is_under_way = False

    @property
    def error(self) -> str:
        """Why the node is not ready; "" while no shutdown is under way."""
        return NODE_MESSAGE if self.is_under_way else ""

    def refusal(self, _: Pod) -> Rejection | None:
        """Return why the node takes no pod now, or None."""
        return REFUSAL if self.is_under_way else None

    async def run(self) -> None:
        """Work until cancelled; a connection that is lost is made anew."""
        failures = 0
        while True:
            inhibitor = self._inhibitor()
            try:
                await inhibitor.open()
                log.info("a shutdown of the host will wait for the pods")
                failures = 0
                async for is_beginning in inhibitor.shutdowns():
                    await self._happened(inhibitor, is_beginning=is_beginning)
            except (BusUnavailable, CallFailed, DelayTooShort, OSError) as error:
                level = logging.DEBUG if failures else logging.WARNING
                log.log(level, "cannot follow shutdowns of the host: %s", error)
            finally:
                inhibitor.close()
            await asyncio.sleep(
                backoff_seconds(failures, RECONNECT_FIRST_SECONDS, RECONNECT_MAX_SECONDS)
            )
            failures += 1

    async def _happened(self, inhibitor: Inhibitor, *, is_beginning: bool) -> None:
        what = "event" if is_beginning else "cancellation"
        message = f"Shutdown manager detected shutdown {what}"
        self._events.event(self._node, NORMAL, "NodeShutdown", message)
        self.is_under_way = is_beginning
        self._changed()
        if not is_beginning:
            await inhibitor.hold()
            return
        STARTED.set(self._clock.now().timestamp())
        ENDED.set(0)
        try:
            await self.end_pods()
        finally:
            inhibitor.release()
        ENDED.set(self._clock.now().timestamp())

    async def end_pods(self) -> None:
        """End all pods, period by period; one that takes longer than its period does not hold up the next."""
        active = [pod for pod in self._pods.active_pods() if not is_terminal(pod)]
        for period, pods in grouped(self._periods, active):
            if not pods:
                continue
            for pod in pods:
                self._pods.end(pod.metadata.uid, ending_of(pod, period))
            try:
                async with asyncio.timeout(period.seconds):
                    await asyncio.gather(*(self._pods.at_rest(pod.metadata.uid) for pod in pods))
            except TimeoutError:
                about = {"priority": period.priority, "seconds": period.seconds}
                log.warning("pods did not end before the shutdown in time", extra=about)
