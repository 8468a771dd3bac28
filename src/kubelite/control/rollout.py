"""The arithmetic of rollouts: maxSurge, maxUnavailable, and how sets share a change of the wanted number."""

from collections.abc import Sequence

from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.machinery.intstr import scaled_value
from kubelite.api.machinery.numbers import integer

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """Return a number unchanged, a percentage as its share of `total`, None as 0."""
    return 0 if value is None else scaled_value(value, total, round_up=round_up)


def fenceposts(
    surge: int | str | None, unavailable: int | str | None, wanted: int
) -> tuple[int, int]:
    """Return maxSurge and maxUnavailable as numbers of pods.

    With (0, 0) no rollout could proceed, so (0, 1) takes its place.
    """
    above = scaled(surge, wanted, round_up=True)
    below = scaled(unavailable, wanted, round_up=False)
    return (above, below) if above or below else (0, 1)


def wanted_replicas(item: Deployment | ReplicaSet) -> int:
    """Return `spec.replicas`; 1 if absent."""
    return 1 if item.spec.replicas is None else item.spec.replicas


def is_rolling(deployment: Deployment) -> bool:
    """Return whether the strategy is RollingUpdate, which is the default."""
    return deployment.spec.strategy.type != "Recreate"


def max_surge(deployment: Deployment) -> int:
    """Return how many pods may exist beyond the wanted number."""
    return _fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    """Return how many of the wanted pods may be unavailable."""
    wanted = wanted_replicas(deployment)
    if not is_rolling(deployment) or wanted == 0:
        return 0
    return min(_fenceposts(deployment)[1], wanted)


def _fenceposts(deployment: Deployment) -> tuple[int, int]:
    rolling = deployment.spec.strategy.rollingUpdate
    if rolling is None:
        return fenceposts("25%", "25%", wanted_replicas(deployment))
    return fenceposts(rolling.maxSurge, rolling.maxUnavailable, wanted_replicas(deployment))


def annotated_number(item: ReplicaSet, annotation: str) -> int | None:
    """Return the number in an annotation of a set; None if it is absent or no number."""
    return integer(item.metadata.annotations.get(annotation, ""))


def proportional_sizes(deployment: Deployment, active: Sequence[ReplicaSet]) -> dict[str, int]:
    """Return the size of each active set, by name, after a change of the wanted number during a rollout.

    Each set grows or shrinks in proportion to its size; the remainder from rounding goes to the largest.
    """
    wanted = wanted_replicas(deployment)
    allowed = wanted + max_surge(deployment) if wanted else 0
    to_add = allowed - sum(map(wanted_replicas, active))
    # Of sets of equal size the newer grows first and the older shrinks first.
    by_age = sorted(active, key=lambda one: one.metadata.creationTimestamp, reverse=to_add > 0)
    by_size = sorted(by_age, key=wanted_replicas, reverse=True)
    sizes = {one.metadata.name: wanted_replicas(one) for one in by_size}
    if not by_size or to_add == 0:
        return sizes
    added = 0
    for one in by_size:
        share = _share(deployment, one, to_add, added)
        sizes[one.metadata.name] += share
        added += share
    largest = by_size[0].metadata.name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _share(deployment: Deployment, one: ReplicaSet, to_add: int, added: int) -> int:
    size = wanted_replicas(one)
    if size == 0 or to_add == added:
        return 0
    wanted = wanted_replicas(deployment)
    if wanted == 0:
        share = -size
    else:
        before = annotated_number(one, MAXIMUM) or deployment.status.replicas
        if before == 0:
            return 0
        now = wanted + max_surge(deployment)
        share = (2 * size * now + before) // (2 * before) - size  # rounded half up
    left = to_add - added
    return min(share, left) if to_add > 0 else max(share, left)


def new_set_size(deployment: Deployment, sets: Sequence[ReplicaSet], size: int) -> int:
    """Return the size to which the newest set may grow now.

    `sets` are all sets, including the newest if it exists; `size` is its present size.
    """
    wanted = wanted_replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    if size >= wanted:
        return wanted
    room = wanted + max_surge(deployment) - sum(map(wanted_replicas, sets))
    return min(size + max(room, 0), wanted)


def old_set_sizes(
    deployment: Deployment, old: Sequence[ReplicaSet], newest: ReplicaSet
) -> dict[str, int]:
    """Return the new sizes, by name, of the old sets that shrink in this step of a rolling update.

    Pods that are not available go first, since they serve nothing; then available ones beyond the minimum.
    """
    sizes = {one.metadata.name: wanted_replicas(one) for one in old}
    total = sum(sizes.values())
    minimum = wanted_replicas(deployment) - max_unavailable(deployment)
    missing = wanted_replicas(newest) - newest.status.availableReplicas
    clean_up = total + wanted_replicas(newest) - minimum - missing
    if total == 0 or clean_up <= 0:
        return {}
    before = dict(sizes)
    by_age = sorted(old, key=lambda one: (one.metadata.creationTimestamp, one.metadata.name))
    for one in by_age:
        name = one.metadata.name
        unhealthy = min(clean_up, sizes[name] - one.status.availableReplicas)
        if unhealthy > 0:
            sizes[name] -= unhealthy
            clean_up -= unhealthy
    available = sum(one.status.availableReplicas for one in old) + newest.status.availableReplicas
    spare = available - minimum
    for one in by_age:
        drop = min(sizes[one.metadata.name], max(spare, 0))
        sizes[one.metadata.name] -= drop
        spare -= drop
    return {name: size for name, size in sizes.items() if size != before[name]}
