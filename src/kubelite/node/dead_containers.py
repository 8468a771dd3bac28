"""Decides which ended containers are too many for the whole node. Pure.

Shares and order are the kubelet's, with one difference: the newest run of a container whose pod is not over stays,
since it says how the container ended and how long its restart waits.
Source: pkg/kubelet/kuberuntime/kuberuntime_gc.go.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from kubelite.node.log_policy import DeadContainerPolicy
from kubelite.node.runtime import ContainerRecord


def ended_containers(
    records: Iterable[ContainerRecord], policy: DeadContainerPolicy, now: datetime
) -> list[list[ContainerRecord]]:
    """Return the ended containers of a pod that are old enough to go, by container and the newest run first."""
    found: dict[str, list[ContainerRecord]] = {}
    for record in sorted(records, key=lambda record: record.attempt, reverse=True):
        is_old = record.created_at + policy.age <= now
        if not record.is_sandbox and not record.is_running and is_old:
            found.setdefault(record.name, []).append(record)
    return list(found.values())


def newest_ids(records: Iterable[ContainerRecord]) -> set[str]:
    """Return the id of the newest run of each container of a pod."""
    newest = {one.name: one for one in sorted(records, key=lambda record: record.attempt)}
    return {one.id for one in newest.values()}


def beyond_total(
    units: Iterable[list[ContainerRecord]], kept: frozenset[str], total: int
) -> frozenset[str]:
    """Return the ids of the ended containers that go so that `total` stay; `kept` are ids that stay in any case.

    Each container gets an equal share of at least one run, and beyond the shares the oldest ones go.
    """
    units = list(units)
    if sum(map(len, units)) <= total:
        return frozenset()
    share = max(total // len(units), 1)
    rest = list(chain.from_iterable(unit[:share] for unit in units))
    removable = sorted((one for one in rest if one.id not in kept), key=lambda one: one.created_at)
    beyond = [*chain.from_iterable(unit[share:] for unit in units)]
    beyond += removable[: max(len(rest) - total, 0)]
    return frozenset(one.id for one in beyond) - kept
