"""The back-off with which owners replace pods that their node refused.

A refused pod fails at once and never runs. Its successor fails the same way until something changes, so an owner that
replaces it at once makes thousands of failed pods. Kubernetes backs off for DaemonSets and Jobs only; here every
controller of pods does. A pod that runs, or a new generation of the owner, resets the back-off.
"""

import asyncio
from collections.abc import Iterable, Mapping

from msgspec import Struct

from kubelite.api.client.events import WARNING
from kubelite.api.client.mirror import metadata_of
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import Kind
from kubelite.backoff import backoff_seconds
from kubelite.control.runtime import Context

FIRST_SECONDS = 1.0
MAX_SECONDS = 300.0
MESSAGE_CHARACTERS = 512  # of the node's message, in an event of the owner


class _Owner(Struct):
    """The back-off of one owner."""

    generation: int | None
    seen: frozenset[str]  # uids of the refused pods that were counted
    failures: int = 0
    until: float = 0.0  # loop time of the end of the back-off
    newest: str = ""  # creationTimestamp of the newest refused pod of the last round


def is_refused(pod: Pod) -> bool:
    """Return whether a pod failed before any of its containers ran."""
    status = pod.status
    return status.phase == "Failed" and not any(
        one.state.running or one.state.terminated or one.lastState.terminated
        for one in (*status.initContainerStatuses, *status.containerStatuses)
    )


class Starts(Struct, frozen=True):
    """How the pods of an owner began."""

    refused: Mapping[str, Pod]  # by uid
    newest_running: str  # when the newest pod that runs was made; "" if none runs


def starts_of(pods: Iterable[Pod]) -> Starts:
    """Look at all pods of an owner once; pure, so that it can be done off the loop."""
    refused, newest = {}, ""
    for pod in pods:
        if pod.status.phase == "Running":
            newest = max(newest, pod.metadata.creationTimestamp)
        elif is_refused(pod):
            refused[pod.metadata.uid] = pod
    return Starts(refused, newest)


class FailedStarts:
    """Remembers the back-off of each owner of one controller."""

    def __init__(self, context: Context) -> None:
        self._events = context.events
        self._owners: dict[str, _Owner] = {}

    def wait_seconds(self, owner: Kind, starts: Starts) -> float:
        """Return the seconds for which refused pods must not be replaced; 0 if they may be.

        `starts` are those of all pods that the owner has. Newly refused pods start a back-off and record an event. An
        owner with neither refused pods nor a back-off takes no memory.
        """
        meta, now = metadata_of(owner), asyncio.get_running_loop().time()
        refused = starts.refused
        known = self._owners.get(meta.uid)
        if known is None:
            if not refused:
                return 0.0
            self._sweep(now)
            known = self._owners[meta.uid] = _Owner(meta.generation, frozenset())
        if known.generation != meta.generation:
            known.generation, known.failures, known.until = meta.generation, 0, 0.0
            known.seen = frozenset(refused)
            return 0.0
        if starts.newest_running > known.newest:
            known.failures = 0
        fresh = refused.keys() - known.seen
        known.seen = frozenset(refused)
        if fresh and now >= known.until:
            # All pods that are refused before the back-off ends belong to the same round.
            known.newest = max(pod.metadata.creationTimestamp for pod in refused.values())
            delay = backoff_seconds(known.failures, FIRST_SECONDS, MAX_SECONDS)
            known.failures += 1
            known.until = now + delay
            self._tell(owner, refused[min(fresh)], len(fresh), delay)
        return max(known.until - now, 0.0)

    def _tell(self, owner: Kind, pod: Pod, count: int, delay_seconds: float) -> None:
        reason = f"{pod.status.reason}: {pod.status.message}"[:MESSAGE_CHARACTERS]
        message = (
            f"Back-off {delay_seconds:g}s replacing {count} pod(s) that a node refused: {reason}"
        )
        self._events.event(owner, WARNING, "BackOff", message)

    def _sweep(self, now: float) -> None:
        """Drop owners whose back-off ended long ago, among them deleted ones."""
        over = [uid for uid, one in self._owners.items() if now > one.until + 2 * MAX_SECONDS]
        for uid in over:
            del self._owners[uid]
