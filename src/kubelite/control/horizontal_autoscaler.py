"""Scales workloads by metrics: the HorizontalPodAutoscaler controller.

An autoscaler is evaluated every PERIOD_SECONDS, and at once when it, its target's size or the number of pods changes.
Without autoscalers nothing runs, and what they are evaluated with is not imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.kinds.apps import Deployment, ReplicaSet, StatefulSet
from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscaler
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.replication_controllers import ReplicationController
from kubelite.control.ownership import group_of
from kubelite.control.runtime import Context, Key, Watch

if TYPE_CHECKING:
    from kubelite.control.autoscaling.autoscaler import Autoscalers

TARGET_INDEX = "scale-target"
FOLLOWED = (Deployment, ReplicaSet, StatefulSet, ReplicationController)


class HorizontalAutoscalerController:
    """Reconciles HorizontalPodAutoscalers."""

    name = "horizontal-pod-autoscaler"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._autoscalers = context.mirror(HorizontalPodAutoscaler)
        self._autoscalers.add_index(TARGET_INDEX, _target_of)
        self._pods = context.mirror(Pod)
        self._api_services = context.mirror(APIService)
        self._evaluated: Autoscalers | None = None  # None until the first autoscaler exists

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch autoscalers, the size of built-in targets, and pods that come and go."""
        return (
            Watch(HorizontalPodAutoscaler, where=_spec_changed),
            Watch(Pod, self._keys_of_pod, where=_came_or_went),
            *(Watch(kind, self._keys_of_target, where=_scaled) for kind in FOLLOWED),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Scale the target, write the status. Return the seconds until the next evaluation."""
        autoscaler = self._autoscalers.get(key.name, key.namespace)
        if autoscaler is None:
            if self._evaluated is not None:
                self._evaluated.forget(key)
            return None
        return await self._opened().reconcile(key, autoscaler)

    def _opened(self) -> Autoscalers:
        if self._evaluated is None:
            from kubelite.control.autoscaling.autoscaler import Autoscalers

            self._evaluated = Autoscalers(self._context, self._pods, self._api_services)
        return self._evaluated

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key | None]:
        if self._evaluated is None:
            return ()
        return self._evaluated.selecting.keys(pod.metadata.namespace, pod.metadata.labels)

    def _keys_of_target(self, target: Any) -> Iterable[Key]:
        name = _indexed(
            target.metadata.namespace, target.gvk.group, target.gvk.kind, target.metadata.name
        )
        return (
            Key(one.metadata.namespace, one.metadata.name)
            for one in self._autoscalers.indexed(TARGET_INDEX, name)
        )


def _target_of(autoscaler: HorizontalPodAutoscaler) -> Sequence[str]:
    target = autoscaler.spec.scaleTargetRef
    group = group_of(target.apiVersion)
    return (_indexed(autoscaler.metadata.namespace, group, target.kind, target.name),)


def _indexed(*parts: str) -> str:
    return "/".join(parts)


def _spec_changed(
    before: HorizontalPodAutoscaler | None, after: HorizontalPodAutoscaler | None
) -> bool:
    return before is None or after is None or before.spec != after.spec


def _came_or_went(before: Pod | None, after: Pod | None) -> bool:
    return before is None or after is None


def _scaled(before: Any, after: Any) -> bool:
    return before is None or after is None or before.spec.replicas != after.spec.replicas
