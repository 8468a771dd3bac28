"""Registers the groups this server serves itself as APIServices, so that clients find all groups in one list.

Source: kube-aggregator's auto-registration. Each is Local and Available. Unlike there, a deleted one is recreated
at once and not with the next start.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import AlreadyExists
from kubelite.api.kinds.apiregistration import (
    APIService,
    APIServiceCondition,
    APIServiceSpec,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control.runtime import Context, Key, Watch

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
ON_START = "onstart"
# By group and version: the priorities of the group and, within it, of the version; clients prefer the greater. The
# group of APIServices itself is not registered.
PRIORITIES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("", "v1"): (18000, 1),
    ("apps", "v1"): (17800, 15),
    ("events.k8s.io", "v1"): (17750, 15),
    ("authentication.k8s.io", "v1"): (17700, 15),
    ("authorization.k8s.io", "v1"): (17600, 15),
    ("autoscaling", "v1"): (17500, 15),
    ("autoscaling", "v2"): (17500, 30),
    ("batch", "v1"): (17400, 15),
    ("certificates.k8s.io", "v1"): (17300, 15),
    ("networking.k8s.io", "v1"): (17200, 15),
    ("policy", "v1"): (17100, 15),
    ("rbac.authorization.k8s.io", "v1"): (17000, 15),
    ("storage.k8s.io", "v1"): (16800, 15),
    ("apiextensions.k8s.io", "v1"): (16700, 15),
    ("admissionregistration.k8s.io", "v1"): (16700, 15),
    ("scheduling.k8s.io", "v1"): (16600, 15),
    ("coordination.k8s.io", "v1"): (16500, 15),
    ("node.k8s.io", "v1"): (16300, 15),
    ("discovery.k8s.io", "v1"): (16200, 15),
    ("resource.k8s.io", "v1"): (16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1"): (16100, 21),
}


def _wanted() -> dict[str, APIServiceSpec]:
    """Return the specs by name; the core group's name ends with a dot."""
    return {
        f"{version}.{group}": APIServiceSpec(
            group=group,
            version=version,
            groupPriorityMinimum=group_priority,
            versionPriority=version_priority,
        )
        for (group, version), (group_priority, version_priority) in PRIORITIES.items()
    }


class APIRegistration:
    """Reconciles the APIServices of built-in groups."""

    name = "apiservice-registration"
    identity = "system:apiserver"  # upstream does it in the API server
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._services = context.mirror(APIService)
        self._wanted = _wanted()
        for name in self._wanted:  # an absent one has no event that would enqueue it
            context.queue.add(Key("", name))

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all APIServices."""
        return (Watch(APIService),)

    async def reconcile(self, key: Key) -> float | None:
        """Create the APIService or correct its spec; one that a user took over is left unchanged."""
        wanted = self._wanted.get(key.name)
        if wanted is None:
            return None
        service = self._services.get(key.name)
        if service is None:
            meta = ObjectMeta(name=key.name, labels={MANAGED: ON_START})
            try:
                service = await self._client.create(APIService(metadata=meta, spec=wanted))
            except AlreadyExists:
                return None  # its event requeues it
        if MANAGED not in service.metadata.labels:
            return None
        if service.spec != wanted:
            service = await self._client.update(replace(service, spec=wanted))
        if not _is_available(service):
            await self._mark_available(service)
        return None

    async def _mark_available(self, service: APIService) -> None:
        condition = APIServiceCondition(
            type="Available",
            status="True",
            reason="Local",
            message="Local APIServices are always available",
            lastTransitionTime=format_time(self._clock.now()),
        )
        others = [one for one in service.status.conditions if one.type != condition.type]
        status = replace(service.status, conditions=[*others, condition])
        await self._client.update(replace(service, status=status), "status")


def _is_available(service: APIService) -> bool:
    return any(
        (one.type, one.status, one.reason) == ("Available", "True", "Local")
        for one in service.status.conditions
    )
