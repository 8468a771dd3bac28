"""Scores the feasible nodes of a pod: 0 to 100 by each aspect, with the weights of Kubernetes' default plugins."""

from collections.abc import Mapping, Sequence
from math import sqrt

from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo

TAINTS_WEIGHT = 3
NODE_AFFINITY_WEIGHT = 2
SPREAD_WEIGHT = 2
DEVICES_WEIGHT = 2
AFFINITY_WEIGHT = 2
IMAGE_MIN_BYTES = 23 * 1024 * 1024
IMAGE_MAX_BYTES = 1000 * 1024 * 1024
ZONE = "topology.kubernetes.io/zone"


class NodeScore:
    """The scores of a node that depend on it alone, so they stay valid until it changes."""

    __slots__ = ("alone", "generation", "owner_pods", "preferred", "soft_taints", "zone")

    def __init__(self, info: PodInfo, node: NodeInfo) -> None:
        self.generation = node.generation
        cpu_total = node.allocatable.get("cpu", 0)
        memory_total = node.allocatable.get("memory", 0)
        cpu = (node.cpu_assumed + info.cpu_assumed) / cpu_total if cpu_total else 1.0
        memory = (node.memory_assumed + info.memory_assumed) / memory_total if memory_total else 1.0
        self.alone = (
            least_allocated(cpu, memory) + balanced(cpu, memory) + image_locality(info, node)
        )
        self.soft_taints = sum(
            1
            for taint in node.taints
            if taint[2] == "PreferNoSchedule" and not info.tolerates(taint)
        )
        self.preferred = info.node_preference(node.name, node.labels)
        self.owner_pods = node.owners.get(info.owner, 0) if info.owner else 0
        self.zone = node.labels.get(ZONE, "")


def least_allocated(cpu: float, memory: float) -> float:
    """Score 0 to 100 by the free part of cpu and memory (NodeResourcesFit, LeastAllocated)."""
    return 50.0 * (max(0.0, 1.0 - cpu) + max(0.0, 1.0 - memory))


def balanced(cpu: float, memory: float) -> float:
    """Score 50 to 100 by how equally cpu and memory would be used (NodeResourcesBalancedAllocation)."""
    return 100.0 * (1.0 - abs(min(cpu, 1.0) - min(memory, 1.0)) / 2)


def image_locality(info: PodInfo, node: NodeInfo) -> float:
    """Score 0 to 100 by the bytes of the pod's images on the node, from 23 MB on (ImageLocality)."""
    if not node.images:
        return 0.0
    present = sum(node.images.get(image, 0) for image in info.images)
    most = IMAGE_MAX_BYTES * max(len(info.images), 1)
    present = min(max(present, IMAGE_MIN_BYTES), most)
    return 100.0 * (present - IMAGE_MIN_BYTES) / (most - IMAGE_MIN_BYTES)


def totals(
    info: PodInfo,
    nodes: Sequence[NodeInfo],
    scores: Sequence[NodeScore],
    affinity: Mapping[str, int],
    crowding: Mapping[str, float],
) -> list[float]:
    """Return the weighted sum of all scores for each node, with those that are relative to the other nodes."""
    result = [score.alone for score in scores]
    most_taints = max(score.soft_taints for score in scores)
    if most_taints:
        for index, score in enumerate(scores):
            result[index] += TAINTS_WEIGHT * 100.0 * (1 - score.soft_taints / most_taints)
    most_preferred = max(score.preferred for score in scores)
    if most_preferred:
        for index, score in enumerate(scores):
            result[index] += NODE_AFFINITY_WEIGHT * 100.0 * score.preferred / most_preferred
    if affinity:
        low, high = min(affinity.values()), max(affinity.values())
        if high > low:
            for index, node in enumerate(nodes):
                share = (affinity.get(node.name, low) - low) / (high - low)
                result[index] += AFFINITY_WEIGHT * 100.0 * share
    if not info.constraints:
        _add_default_spread(info, scores, result)
    elif crowding:
        least, most = min(crowding.values()), max(crowding.values())
        for index, node in enumerate(nodes):
            if node.name in crowding:
                room = (most - crowding[node.name]) / (most - least) if most > least else 1.0
                result[index] += SPREAD_WEIGHT * 100.0 * room
    return result


def _add_default_spread(info: PodInfo, scores: Sequence[NodeScore], result: list[float]) -> None:
    """Add the score of PodTopologySpread's default constraints: few pods of the owner on a node and in its zone."""
    if not info.owner:
        return
    zones: dict[str, int] = {}
    for score in scores:
        zones[score.zone] = zones.get(score.zone, 0) + score.owner_pods
    zone_weight = sqrt(len(zones)) if len(zones) > 1 else 0.0
    crowd = [score.owner_pods + zone_weight * zones[score.zone] for score in scores]
    low, high = min(crowd), max(crowd)
    if high > low:
        factor = SPREAD_WEIGHT * 100.0 / (high - low)
        for index, value in enumerate(crowd):
            result[index] += factor * (high - value)
