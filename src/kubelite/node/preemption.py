"""Finds the pods that make way for a critical one which was bound to a node without room; pure.

Upstream's kubelet does the same (pkg/kubelet/preemption): the fewest and least important pods whose requests suffice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.admission import Rejection, Shortage, unexpected
from kubelite.node.observed import Ending
from kubelite.node.pods import is_critical, qos_class
from kubelite.node.resources import pod_requests

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
ENDING = Ending(
    REASON,
    MESSAGE,
    disruption="TerminationByKubelet",
    disruption_message="Pod was preempted by Kubelet to accommodate a critical pod.",
)
CLASSES = ("BestEffort", "Burstable", "Guaranteed")  # the least important first

Needs = Mapping[str, int]  # what has still to be freed, by resource


def pods_to_preempt(pod: Pod, others: Sequence[Pod], lacks: Iterable[Shortage]) -> list[Pod] | None:
    """Return the pods to end so that `pod` has room; None if all that may be ended are not enough."""
    needs = {lack.name: lack.missing for lack in lacks}
    groups = [
        [other for other in others if may_preempt(pod, other) and qos_class(other) == name]
        for name in CLASSES
    ]
    if _left(needs, [other for group in groups for other in group]):
        return None
    # From the most important class on: only what all of the lesser ones together would not free.
    chosen: list[list[Pod]] = [[], [], []]
    for place in (2, 1, 0):
        assumed = [other for group in groups[:place] for other in group]
        taken = [other for group in chosen for other in group]
        chosen[place] = _nearest(groups[place], _left(needs, [*assumed, *taken]))
    return [other for group in chosen for other in group]


def refused(lacks: Iterable[Shortage]) -> Rejection:
    """Return the rejection of a critical pod for which no pods can make way."""
    amounts = "".join(f"(res: {lack.name}, q: {lack.missing}), " for lack in lacks)
    return unexpected(
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of "
        f"pods to preempt: no set of running pods found to reclaim resources: [{amounts}]"
    )


def may_preempt(pod: Pod, other: Pod) -> bool:
    """Return whether a pod may be ended for the sake of `pod`."""
    if is_critical(pod) and not is_critical(other):
        return True
    own, its = pod.spec.priority, other.spec.priority
    return own is not None and its is not None and own > its


def _request(pod: Pod, name: str) -> int:
    return 1 if name == "pods" else pod_requests(pod).get(name, 0)


def _left(needs: Needs, ended: Sequence[Pod]) -> dict[str, int]:
    left = {name: n - sum(_request(pod, name) for pod in ended) for name, n in needs.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def _nearest(pods: Sequence[Pod], needs: Needs) -> list[Pod]:
    """Return pods that free all needs: each time the one that leaves least, of equal ones the smallest."""
    left, chosen = list(pods), []
    while needs and left:
        best = min(left, key=_distance(needs))
        left.remove(best)
        chosen.append(best)
        needs = _left(needs, [best])
    return chosen


def _distance(needs: Needs) -> Callable[[Pod], tuple[float, int, int]]:
    def key(pod: Pod) -> tuple[float, int, int]:
        remaining = {name: max(n - _request(pod, name), 0) / n for name, n in needs.items()}
        distance = sum(part**2 for part in remaining.values())
        return distance, _request(pod, "memory"), _request(pod, "cpu")

    return key
