"""Keeps the status of PodDisruptionBudgets: how many disruptions are allowed. The eviction API decides by it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.client.protocol import Mirror
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.apps import Deployment, ReplicaSet, StatefulSet
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.replication_controllers import ReplicationController
from kubelite.api.kinds.meta import Condition, OwnerReference
from kubelite.api.kinds.policy import PodDisruptionBudget, PodDisruptionBudgetStatus
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control.ownership import controller_of, group_of
from kubelite.control.pods import POD_COST_BYTES, is_ready, is_terminal
from kubelite.control.rollout import scaled
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import matcher, selected
from kubelite.control.selector_index import SelectorIndex
from kubelite.tasks import in_slices

NAMES_SHOWN = 20  # pods named in an event, whose message is cut to 1024 characters
EVICTION_TIMEOUT = timedelta(
    minutes=2
)  # a pod that still exists so long after its eviction was not deleted


class Expected(Struct, frozen=True):
    """How many pods the owners of a budget's pods want, and the names of pods without a controller."""

    count: int
    unmanaged: tuple[str, ...] = ()
    failure: str = ""  # why the count cannot be known; "" if it can


def wanted_healthy(budget: PodDisruptionBudget, expected: int) -> int:
    """Return how many pods must stay healthy, of the number expected."""
    spec = budget.spec
    if spec.maxUnavailable is not None:
        return max(0, expected - scaled(spec.maxUnavailable, expected, round_up=True))
    if spec.minAvailable is not None:
        return scaled(spec.minAvailable, expected, round_up=True)
    return 0


def status_of(
    budget: PodDisruptionBudget, pods: Sequence[Pod], expected: int, now: datetime
) -> PodDisruptionBudgetStatus:
    """Return the status. A pod whose eviction was allowed within EVICTION_TIMEOUT counts as gone."""
    present = {pod.metadata.name: pod for pod in pods}
    disrupted = {
        name: date
        for name, date in budget.status.disruptedPods.items()
        if name in present
        and present[name].metadata.deletionTimestamp is None
        and date is not None
        and parse_time(date) + EVICTION_TIMEOUT > now
    }
    healthy = sum(
        pod.metadata.deletionTimestamp is None
        and pod.metadata.name not in disrupted
        and is_ready(pod)
        for pod in pods
    )
    wanted = wanted_healthy(budget, expected)
    allowed = max(0, healthy - wanted) if expected > 0 else 0
    return replace(
        budget.status,
        currentHealthy=healthy,
        desiredHealthy=wanted,
        expectedPods=expected,
        disruptionsAllowed=allowed,
        disruptedPods=disrupted,
        observedGeneration=budget.metadata.generation,
        conditions=_conditions(budget, allowed, now),
    )


def safe_status(
    budget: PodDisruptionBudget, failure: str, now: datetime
) -> PodDisruptionBudgetStatus:
    """Return the fail-closed status for a budget whose pods cannot be counted.

    It allows no disruptions, with the reason SyncFailed and `failure` as message.
    """
    return replace(
        budget.status,
        disruptionsAllowed=0,
        observedGeneration=budget.metadata.generation,
        conditions=_conditions(budget, 0, now, failure),
    )


def _conditions(
    budget: PodDisruptionBudget, allowed: int, now: datetime, failure: str = ""
) -> list[Condition]:
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    reason = "SyncFailed" if failure else reason
    current = next(
        (one for one in budget.status.conditions if one.type == "DisruptionAllowed"), None
    )
    since = format_time(now)
    if current is not None and current.status == status:
        since = current.lastTransitionTime
    fresh = Condition(
        type="DisruptionAllowed",
        status=status,
        reason=reason,
        message=failure,
        lastTransitionTime=since,
        observedGeneration=budget.metadata.generation,
    )
    return [*(one for one in budget.status.conditions if one.type != fresh.type), fresh]


class DisruptionController:
    """Reconciles PodDisruptionBudgets."""

    name = "disruption-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._budgets = context.mirror(PodDisruptionBudget)
        self._pods = context.mirror(Pod)
        self._selecting: SelectorIndex[PodDisruptionBudget] = SelectorIndex(
            lambda one: one.spec.selector
        )
        context.follow(PodDisruptionBudget, self._selecting.changed)
        self._owners: dict[tuple[str, str], Mirror[Any]] = {
            (kind.gvk.group, kind.gvk.kind): context.mirror(kind)
            for kind in (Deployment, ReplicaSet, StatefulSet, ReplicationController)
        }

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch budgets, their pods, and the `replicas` of the pods' controllers."""
        return (
            Watch(PodDisruptionBudget),
            Watch(Pod, self._budgets_of),
            *(
                Watch(kind, self._budgets_near, where=_scaled)
                for kind in (Deployment, ReplicaSet, StatefulSet, ReplicationController)
            ),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Write the status if it differs. Return the seconds until the next allowed eviction times out, or None."""
        budget = self._budgets.get(key.name, key.namespace)
        if budget is None:
            return None
        offload = self._context.offload
        pods = await selected(
            offload, self._pods.list(key.namespace), matcher(budget.spec.selector)
        )
        if not pods:
            self._context.events.event(budget, NORMAL, "NoPods", "No matching pods found")
        expected = await self._expected(budget, pods)
        if expected.unmanaged:
            names = ", ".join(expected.unmanaged[:NAMES_SHOWN])
            text = f"Pods without a controller that can be scaled do not count: {names}"
            self._context.events.event(budget, WARNING, "UnmanagedPods", text)
        now = self._context.clock.now()
        if expected.failure:
            text = f"Failed to calculate the number of expected pods: {expected.failure}"
            self._context.events.event(budget, WARNING, "CalculateExpectedPodCountFailed", text)
            status = safe_status(budget, expected.failure, now)
        else:
            status = await offload.run(
                POD_COST_BYTES * (len(pods) + len(budget.status.disruptedPods)),
                lambda: status_of(budget, pods, expected.count, now),
            )
        if status != budget.status:
            await self._context.client.update(replace(budget, status=status), "status")
        dates = [parse_time(date) for date in status.disruptedPods.values() if date]
        if not dates:
            return None
        return max(1.0, (min(dates) + EVICTION_TIMEOUT - now).total_seconds())

    async def _expected(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> Expected:
        """Count as Kubernetes does: the pods for an absolute minAvailable, else the replicas of their owners."""
        if budget.spec.maxUnavailable is None and isinstance(budget.spec.minAvailable, int):
            return Expected(len(pods))
        sizes: dict[str, int] = {}
        unmanaged: list[str] = []
        async for some in in_slices(pods):
            for pod in some:
                reference = controller_of(pod.metadata)
                owner = self._scale_of(pod)
                if reference is None:
                    unmanaged.append(pod.metadata.name)
                elif owner is not None:
                    replicas = owner.spec.replicas
                    sizes[owner.metadata.uid] = 1 if replicas is None else replicas
                elif reference.uid not in sizes:
                    try:
                        found = await self._scale(reference, pod.metadata.namespace)
                    except APIError as error:
                        return Expected(0, failure=error.message)
                    if found is None:  # its replicas are unknown, so fail closed
                        message = f'found no controllers for pod "{pod.metadata.name}"'
                        return Expected(0, failure=message)
                    sizes[reference.uid] = found
        return Expected(sum(sizes.values()), tuple(unmanaged))

    async def _scale(self, reference: OwnerReference, namespace: str) -> int | None:
        """Return the replicas of a controller of any kind, read from its scale; None if there is no such object.

        Raises APIError if the scale cannot be read, or if the resource has none.
        """
        name = group_of(reference.apiVersion), reference.kind
        served = self._context.resources.resources()
        resource = next((one for one in served if (one.group, one.kind) == name), None)
        if resource is None:
            return None
        try:
            scale = await self._context.client_of(resource).get(
                reference.name, namespace, subresource="scale"
            )
        except NotFound as error:
            if error.name:
                return None
            qualified = f"{resource.resource}.{resource.group}".rstrip(".")
            raise NotFound(f"{qualified} does not implement the scale subresource") from error
        if scale["metadata"].get("uid") != reference.uid:
            return None
        replicas: int = scale["spec"].get("replicas", 0)
        return replicas

    def _scale_of(self, pod: Pod) -> Any:
        """Return the object whose `replicas` counts the pod, or None.

        It is the pod's controller; for a ReplicaSet with a controller, that.
        """
        owner = self._controller(pod)
        if isinstance(owner, ReplicaSet):
            return self._controller(owner) or owner
        return owner

    def _controller(self, item: Any) -> Any:
        reference = controller_of(item.metadata)
        if reference is None:
            return None
        mirror = self._owners.get((group_of(reference.apiVersion), reference.kind))
        found = mirror.get(reference.name, item.metadata.namespace) if mirror else None
        return found if found is not None and found.metadata.uid == reference.uid else None

    def _budgets_of(self, pod: Pod) -> Iterable[Key | None]:
        if is_terminal(pod) and not pod.metadata.labels:
            return ()
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)

    def _budgets_near(self, owner: Any) -> Iterable[Key]:
        return (
            Key(one.metadata.namespace, one.metadata.name)
            for one in self._budgets.list(owner.metadata.namespace)
        )


def _scaled(before: Any, after: Any) -> bool:
    return before is None or after is None or before.spec.replicas != after.spec.replicas
