"""Reconciles one autoscaler: reads the target's scale and the metrics, chooses a size, sets it, writes the status."""

import logging
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.client.protocol import Mirror, Object, ResourceClient
from kubelite.api.errors import APIError, BadRequest, Conflict, NotFound
from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.kinds.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerStatus,
    MetricStatus,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.selectors import Selector, parse_selector
from kubelite.api.machinery.times import format_time
from kubelite.api.machinery.versions import version_priority
from kubelite.control.autoscaling.conditions import (
    ABLE,
    ACTIVE,
    LIMITED,
    SCALED_TO_ZERO,
    Conditions,
)
from kubelite.control.autoscaling.evaluation import Evaluation
from kubelite.control.autoscaling.history import History
from kubelite.control.autoscaling.limits import Bounds, chosen, longest_period
from kubelite.control.autoscaling.pod_groups import Readiness
from kubelite.control.autoscaling.proposals import Failure, Verdict, verdict
from kubelite.control.autoscaling.replicas import Measured, Scaled
from kubelite.control.autoscaling.selecting import Selecting
from kubelite.control.autoscaling.source import CUSTOM_GROUP, MetricsSource
from kubelite.control.autoscaling.targets import ScaleOf, TargetUnknown, resource_of, scale_of
from kubelite.control.autoscaling.usage import Tolerances
from kubelite.control.runtime import Context, Key
from kubelite.control.selection import selected
from kubelite.tasks import in_slices

log = logging.getLogger(__name__)

PERIOD_SECONDS = 15.0
JITTER_SECONDS = 1.0  # spreads autoscalers that were created, or found at the start, at once
SPACING_SECONDS = 1.0  # between two evaluations, however often something changes
TOLERANCE = 0.1
CONFLICTS_MAX = 5  # tries to set a size, as upstream
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
READINESS = Readiness()
ABOVE = "Current number of replicas above Spec.MaxReplicas"
BELOW = "Current number of replicas below Spec.MinReplicas"


class Unscalable(Exception):
    """No size can be chosen; the message says why, in Kubernetes' words."""


class Step(Struct):
    """One evaluation: what is known of the target, and the status as it becomes."""

    key: Key
    autoscaler: HorizontalPodAutoscaler
    conditions: Conditions
    metrics: Sequence[MetricStatus] = ()


class Target(Struct, frozen=True):
    """The scale that was read, and how to write it."""

    client: ResourceClient
    scale: Object
    size: ScaleOf


class Decision(Struct, frozen=True):
    """The size to set and why; `replicas` may be the current one."""

    replicas: int
    reason: str = ""


class Memory(Struct):
    """What is kept of an autoscaler between two evaluations."""

    uid: str
    history: History


class Autoscalers:
    """All autoscalers, with what is remembered of each."""

    def __init__(
        self, context: Context, pods: Mirror[Pod], api_services: Mirror[APIService]
    ) -> None:
        self.selecting = Selecting()
        self._context = context
        self._pods = pods
        self._api_services = api_services
        self._source = MetricsSource(context.client)
        self._memory: dict[Key, Memory] = {}
        self._evaluated: dict[Key, tuple[float, HorizontalPodAutoscaler]] = {}

    def forget(self, key: Key) -> None:
        """Drop what is kept of a deleted autoscaler."""
        self.selecting.drop(key)
        self._memory.pop(key, None)
        self._evaluated.pop(key, None)

    async def reconcile(self, key: Key, autoscaler: HorizontalPodAutoscaler) -> float:
        """Evaluate an autoscaler. Return the seconds until the next evaluation."""
        now = self._context.clock.now()
        last, before = self._evaluated.get(key, (0.0, None))
        passed = now.timestamp() - last
        if before is not None and before.spec == autoscaler.spec and 0 <= passed < SPACING_SECONDS:
            return SPACING_SECONDS - passed
        self._evaluated[key] = now.timestamp(), autoscaler
        step = Step(key, autoscaler, Conditions(autoscaler.status.conditions, now))
        await self._evaluate(step)
        return PERIOD_SECONDS + self._context.randomness.uniform(0, JITTER_SECONDS)

    async def _evaluate(self, step: Step) -> None:
        target = await self._target(step)
        if target is None:
            await self._write(step, replace(step.autoscaler.status, conditions=step.conditions.all))
            return
        current = target.size.spec_replicas
        try:
            decision = await self._decision(step, target.size)
        except Unscalable as error:
            await self._report(step, current)
            self._event(step, WARNING, "FailedComputeMetricsReplicas", str(error))
            return
        if decision.replicas == current:
            await self._report(step, current, desired=current)
        elif await self._rescale(step, target, decision):
            await self._report(step, current, desired=decision.replicas, is_scaled=True)
        else:
            await self._report(step, current)

    async def _target(self, step: Step) -> Target | None:
        """Read the target's scale; None if it cannot be read, which an event and a condition say."""
        reference = step.autoscaler.spec.scaleTargetRef
        try:
            resource = resource_of(reference, self._context.resources.resources())
            client = self._context.client_of(resource)
            scale = await client.get(reference.name, step.key.namespace, subresource="scale")
        except (TargetUnknown, APIError) as error:
            self._event(step, WARNING, "FailedGetScale", str(error))
            message = f"the HPA controller was unable to get the target's current scale: {error}"
            step.conditions.set(ABLE, "FailedGetScale", message, true=False)
            return None
        message = "the HPA controller was able to get the target's current scale"
        step.conditions.set(ABLE, "SucceededGetScale", message, true=True)
        return Target(client, scale, scale_of(scale))

    async def _decision(self, step: Step, size: ScaleOf) -> Decision:
        """Choose a size; raises Unscalable after the conditions and events say why there is none."""
        spec, current = step.autoscaler.spec, size.spec_replicas
        history = self._history(step, current)
        least = 1 if spec.minReplicas is None else spec.minReplicas
        if current == 0:
            message = "scaling is disabled since the replica count of the target is zero"
            step.conditions.set(ACTIVE, "ScalingDisabled", message, true=False)
            step.conditions.remove(SCALED_TO_ZERO)
            return Decision(0)
        if current > spec.maxReplicas:
            return Decision(spec.maxReplicas, ABOVE)
        if current < least:
            return Decision(least, BELOW)
        found = await self._verdict(step, size)
        assert found.replicas is not None, "else it is unscalable"
        reason = "All metrics below target"
        if found.replicas > current:
            reason = f"{found.metric} above target"
        now = self._context.clock.now()
        bounds = Bounds(least, spec.maxReplicas, spec.behavior)
        size_chosen = chosen(found.replicas, current, bounds, history, now)
        step.conditions.set(ABLE, *size_chosen.able, true=True)
        step.conditions.set(LIMITED, *size_chosen.limit, true=size_chosen.limited)
        return Decision(size_chosen.replicas, reason)

    async def _verdict(self, step: Step, size: ScaleOf) -> Verdict:
        """Evaluate all metrics; raises Unscalable."""
        spec, namespace = step.autoscaler.spec, step.key.namespace
        pods = await self._selected(step, size.selector)
        evaluation = Evaluation(
            source=self._source,
            offload=self._context.offload,
            namespace=namespace,
            selector=size.selector,
            scaled=Scaled(size.spec_replicas, size.status_replicas, pods),
            by=Measured(tolerances(spec.behavior), READINESS, self._context.clock.now()),
            served=self._context.resources.resources(),
            custom_version=self._custom_version(),
        )
        answers = [await evaluation.of(metric) for metric in spec.metrics]
        for one in answers:
            if isinstance(one, Failure):
                self._event(step, WARNING, one.reason, one.message)
        found = verdict(answers, size.spec_replicas)
        step.metrics = found.statuses
        if found.replicas is None:
            if found.failure is None:
                raise Unscalable("no metrics are specified")
            message = f"the HPA was unable to compute the replica count: {found.failure.message}"
            step.conditions.set(ACTIVE, found.failure.reason, message, true=False)
            raise Unscalable(found.error)
        message = f"the HPA was able to successfully calculate a replica count from {found.metric}"
        step.conditions.set(ACTIVE, "ValidMetricFound", message, true=True)
        if found.error:
            log.warning(
                "an autoscaler scales without some of its metrics",
                extra={"key": f"{namespace}/{step.key.name}", "reason": found.error},
            )
        return found

    async def _selected(self, step: Step, text: str) -> Sequence[Pod]:
        """Return the pods that the target's selector selects; raises Unscalable if others scale them, too."""
        selector = self._selector(step, text)
        self.selecting.put(step.key, selector)
        pods = await selected(
            self._context.offload, self._pods.list(step.key.namespace), selector.matches
        )
        rivals = {step.key}
        async for some in in_slices(pods):
            for pod in some:
                keys = self.selecting.keys(step.key.namespace, pod.metadata.labels)
                rivals.update(key for key in keys if key is not None)
        if len(rivals) > 1:
            names = " ".join(f"{key.namespace}/{key.name}" for key in sorted(rivals))
            message = f"pods by selector {text} are controlled by multiple HPAs: [{names}]"
            raise self._no_selector(step, "AmbiguousSelector", message)
        return pods

    def _selector(self, step: Step, text: str) -> Selector:
        if not text:
            message = "selector is required"
            self._event(step, WARNING, "SelectorRequired", message)
            shown = "the HPA target's scale is missing a selector"
            step.conditions.set(ACTIVE, "InvalidSelector", shown, true=False)
            raise Unscalable(message)
        try:
            return parse_selector(text)
        except BadRequest as error:
            message = (
                "couldn't convert selector into a corresponding internal selector object: "
                f"{error.message}"
            )
            raise self._no_selector(step, "InvalidSelector", message) from error

    def _no_selector(self, step: Step, reason: str, message: str) -> Unscalable:
        self._event(step, WARNING, reason, message)
        step.conditions.set(ACTIVE, reason, message, true=False)
        return Unscalable(message)

    async def _rescale(self, step: Step, target: Target, decision: Decision) -> bool:
        """Set the size; return whether it is set, which an event and a condition say."""
        before, after = target.size.spec_replicas, decision.replicas
        try:
            await self._set(step, target, after)
        except APIError as error:
            message = f"New size: {after}; reason: {decision.reason}; error: {error}"
            self._event(step, WARNING, "FailedRescale", message)
            message = f"the HPA controller was unable to update the target scale: {error}"
            step.conditions.set(ABLE, "FailedUpdateScale", message, true=False)
            return False
        message = f"the HPA controller was able to update the target scale to {after}"
        step.conditions.set(ABLE, "SucceededRescale", message, true=True)
        step.conditions.remove(SCALED_TO_ZERO)
        message = f"New size: {after}; reason: {decision.reason}"
        self._event(step, NORMAL, "SuccessfulRescale", message)
        longest = longest_period(step.autoscaler.spec.behavior)
        self._history(step, before).scaled(before, after, longest, self._context.clock.now())
        return True

    async def _set(self, step: Step, target: Target, replicas: int) -> None:
        """Write the scale; on a conflict with another change of the target read it anew. Raises APIError."""
        scale, client = target.scale, target.client
        for tried in range(1, CONFLICTS_MAX + 1):
            wanted = {**scale, "spec": {**(scale.get("spec") or {}), "replicas": replicas}}
            try:
                await client.update(wanted, subresource="scale")
            except Conflict:
                if tried == CONFLICTS_MAX:
                    raise
                name = step.autoscaler.spec.scaleTargetRef.name
                scale = await client.get(name, step.key.namespace, subresource="scale")
            else:
                return

    async def _report(
        self, step: Step, current: int, *, desired: int | None = None, is_scaled: bool = False
    ) -> None:
        """Write the status; without `desired` the desired replicas of before stay."""
        old = step.autoscaler.status
        status = HorizontalPodAutoscalerStatus(
            currentReplicas=current,
            desiredReplicas=old.desiredReplicas if desired is None else desired,
            lastScaleTime=format_time(self._context.clock.now())
            if is_scaled
            else old.lastScaleTime,
            currentMetrics=list(step.metrics),
            conditions=step.conditions.all,
        )
        await self._write(step, status)

    async def _write(self, step: Step, status: HorizontalPodAutoscalerStatus) -> None:
        if status == step.autoscaler.status:
            return
        try:
            await self._context.client.update(replace(step.autoscaler, status=status), "status")
        except NotFound:
            return  # it was deleted meanwhile
        except APIError as error:
            if not isinstance(error, Conflict):
                self._event(step, WARNING, "FailedUpdateStatus", str(error))
            raise

    def _history(self, step: Step, replicas: int) -> History:
        uid = step.autoscaler.metadata.uid
        memory = self._memory.get(step.key)
        if memory is None or memory.uid != uid:
            history = History(replicas, self._context.clock.now())
            memory = self._memory[step.key] = Memory(uid, history)
        return memory.history

    def _custom_version(self) -> str:
        """Return the preferred version of custom metrics that is served; "" if none is."""
        registered = [
            one.spec
            for one in self._api_services.list()
            if one.spec.group == CUSTOM_GROUP and one.spec.version in CUSTOM_VERSIONS
        ]
        registered.sort(key=lambda one: (-one.versionPriority, version_priority(one.version)))
        return registered[0].version if registered else ""

    def _event(self, step: Step, event_type: str, reason: str, message: str) -> None:
        self._context.events.event(step.autoscaler, event_type, reason, message)


def tolerances(behavior: HorizontalPodAutoscalerBehavior | None) -> Tolerances:
    """Return the tolerances of an autoscaler; TOLERANCE where it sets none."""
    down, up = TOLERANCE, TOLERANCE
    if behavior is not None:
        if behavior.scaleDown is not None and behavior.scaleDown.tolerance is not None:
            down = float(parse_quantity(behavior.scaleDown.tolerance).amount)
        if behavior.scaleUp is not None and behavior.scaleUp.tolerance is not None:
            up = float(parse_quantity(behavior.scaleUp.tolerance).amount)
    return Tolerances(down, up)
