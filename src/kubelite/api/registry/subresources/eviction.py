"""pods/eviction: deletes a pod if its PodDisruptionBudget allows a disruption."""

from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import (
    BadRequest,
    Cause,
    Conflict,
    Forbidden,
    InternalError,
    TooManyRequests,
)
from kubelite.api.kinds.policy import Eviction, PodDisruptionBudget
from kubelite.api.machinery import causes
from kubelite.api.machinery.selectors import label_selector
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.machinery.times import format_time
from kubelite.api.registry.answers import Written
from kubelite.api.registry.handlers import Services
from kubelite.api.registry.objects import decode, encode
from kubelite.api.registry.options import DeletionOptions, Propagation, WriteOptions
from kubelite.api.registry.posted import take
from kubelite.api.registry.routes import object_not_found
from kubelite.api.registry.subresources.binding import CREATED, set_condition
from kubelite.api.registry.target import ATTEMPTS_MAX, Target, busy
from kubelite.api.registry.writing import Decode
from kubelite.limits import DISRUPTED_PODS

BEFORE = "policy/v1beta1"  # Kubernetes still accepts evictions of this version
WAIT_SECONDS = 10
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."

FORM = GoShape(Eviction)
JSON = dict[str, Any]


class Verdict(Struct, frozen=True):
    """The decision of a budget that allows an eviction."""

    spend: bool  # the eviction uses one disruption of the budget
    guarded: bool = False  # allowed only while the pod has the resource version that was checked


async def evict_pod(
    services: Services, target: Target, body: JSON, options: WriteOptions
) -> Written:
    """Evict the pod of the path; raises NotFound, Conflict, and TooManyRequests if a budget forbids it."""
    return await _Eviction(services).post(target, body, options)


class _Eviction:
    """Answers a POST of an Eviction."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._writer = services.writer
        self._deleter = services.deleter
        self._budgets = services.resources.of(PodDisruptionBudget)

    async def post(self, target: Target, body: JSON, options: WriteOptions) -> Written:
        """Evict the pod of the path."""
        if body.get("apiVersion") == BEFORE:
            body["apiVersion"] = Eviction.gvk.api_version
        warnings = await take(self._services, target, body, FORM, options)
        if body["metadata"].get("name") != target.name:
            raise BadRequest("name in URL does not match name in Eviction object")
        deletion = deletion_options(body.get("deleteOptions") or {}, dry_run=options.dry_run)
        for _ in range(ATTEMPTS_MAX):
            entry = self._writer.store.get(target.key)
            if entry is None:
                raise object_not_found(target.resource, target.name)
            pod = decode.decode(entry.value)
            try:
                await self._evict(target, pod, deletion)
            except Conflict:
                # The pod or its budget changed between the decision and the write, so decide again.
                if deletion.resource_version or deletion.uid not in ("", pod["metadata"]["uid"]):
                    raise
            else:
                return Written(encode(CREATED), created=True, warnings=tuple(warnings))
        raise busy(target)

    async def _evict(self, target: Target, pod: JSON, deletion: DeletionOptions) -> None:
        if not is_exempt(pod):
            budget = self._budget(target.namespace, pod)
            verdict = Verdict(spend=False) if budget is None else judge(budget, pod)
            if budget is not None and verdict.spend and not deletion.dry_run:
                await self._spend(target, budget, target.name)
            if verdict.guarded and not deletion.resource_version:
                deletion = replace(deletion, resource_version=pod["metadata"]["resourceVersion"])
        deletion = await self._announce(target, pod, deletion)
        await self._deleter.delete(self._main(target), deletion)

    async def _announce(
        self, target: Target, pod: JSON, deletion: DeletionOptions
    ) -> DeletionOptions:
        """Set the condition DisruptionTarget of a pod that has a node; return the options with its new version."""
        if deletion.dry_run or not pod["spec"].get("nodeName"):
            return deletion
        now = format_time(self._writer.clock.now())
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }

        def revise(read: Decode | None) -> JSON:
            assert read is not None
            present = read()
            if deletion.resource_version:
                present["metadata"]["resourceVersion"] = deletion.resource_version
            set_condition(present.setdefault("status", {}), condition, now)
            return present

        status = replace(target, allowed=self._as(target, "update", "status"), is_step=True)
        written = await self._writer.update(status, revise, WriteOptions(field_manager="eviction"))
        if not deletion.resource_version:
            return deletion
        version = decode.decode(written.body)["metadata"]["resourceVersion"]
        return replace(deletion, resource_version=version)

    def _main(self, target: Target) -> Target:
        return replace(target, allowed=self._as(target, "delete", ""), is_step=True)

    def _as(self, target: Target, verb: str, subresource: str) -> Allowed:
        """Return evidence for a step of the eviction, which the right to evict includes."""
        asked = target.allowed.attributes
        return replace(
            target.allowed, attributes=replace(asked, verb=verb, subresource=subresource)
        )

    def _budget(self, namespace: str, pod: JSON) -> JSON | None:
        """Return the budget that selects a pod, or None; raises InternalError if there are several."""
        labels = pod["metadata"].get("labels")
        found = []
        for entry in self._writer.store.list(self._budgets.scope(namespace)).entries:
            budget = decode.decode(entry.value)
            if label_selector(budget.get("spec", {}).get("selector")).matches(labels):
                found.append(budget)
        if len(found) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support."
            )
        return found[0] if found else None

    async def _spend(self, target: Target, budget: JSON, pod: str) -> None:
        """Use one disruption of a budget; raises Conflict if the budget changed since it was read."""
        budgets = self._budgets
        attributes = replace(
            target.allowed.attributes,
            verb="update",
            group=budgets.group,
            version=budgets.version,
            resource=budgets.plural,
            subresource="status",
            name=budget["metadata"]["name"],
        )
        now = format_time(self._writer.clock.now())

        def revise(_: Decode | None) -> JSON:
            return spent(budget, pod, now)

        await self._writer.update(
            Target(replace(target.allowed, attributes=attributes), budgets, budgets),
            revise,
            WriteOptions(field_manager="eviction"),
        )


def deletion_options(body: JSON, *, dry_run: bool) -> DeletionOptions:
    """Parse the DeleteOptions of an eviction; raises Invalid for an unknown propagation policy."""
    propagation: Any = body.get("propagationPolicy") or ""
    if propagation and propagation not in get_args(Propagation):
        supported = ("Foreground", "Background", "Orphan", "nil")
        cause = causes.unsupported("propagationPolicy", propagation, supported)
        raise causes.invalid_object("DeleteOptions", "meta.k8s.io", "", [cause])
    if dry_run and (tried := body.get("dryRun")) and tried != ["All"]:
        given = " ".join(causes.cut(str(one)) for one in tried[:2])
        raise BadRequest(
            f"Non-matching dry-run options in request and content: [All] and [{given}]"
        )
    preconditions = body.get("preconditions") or {}
    return DeletionOptions(
        grace_seconds=body.get("gracePeriodSeconds"),
        propagation=propagation,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=dry_run or bool(body.get("dryRun")),
    )


def is_exempt(pod: JSON) -> bool:
    """Return whether evicting a pod is no disruption (pending, ended or being deleted), so no budget applies."""
    phase = pod.get("status", {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(
        pod["metadata"].get("deletionTimestamp")
    )


def is_ready(pod: JSON) -> bool:
    """Return whether a pod is healthy: its condition Ready is True."""
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in pod.get("status", {}).get("conditions") or ()
    )


def judge(budget: JSON, pod: JSON) -> Verdict:
    """Return how a budget allows the eviction of a pod; raises TooManyRequests and Forbidden if it does not."""
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not is_ready(pod):
        policy = budget.get("spec", {}).get("unhealthyPodEvictionPolicy")
        if policy == "AlwaysAllow" or (healthy >= desired and desired > 0):
            return Verdict(spend=False, guarded=True)
    name = budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _refused(text, WAIT_SECONDS)
    allowed = status.get("disruptionsAllowed", 0)
    has_too_many = len(status.get("disruptedPods") or ()) > DISRUPTED_PODS.value
    if has_too_many:
        DISRUPTED_PODS.reached()
    if allowed < 0 or has_too_many:
        reason = (
            "pdb disruptions allowed is negative"
            if allowed < 0
            else "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        )
        raise Forbidden(
            f'poddisruptionbudget.policy "{name}" is forbidden: {reason}',
            group="policy",
            kind="poddisruptionbudget",
            name=name,
        )
    if allowed == 0:
        raise _refused(_why_not(budget, name, healthy, desired), 0)
    return Verdict(spend=True)


def _why_not(budget: JSON, name: str, healthy: int, desired: int) -> str:
    conditions = budget.get("status", {}).get("conditions") or ()
    condition: JSON = next(
        (one for one in conditions if one.get("type") == "DisruptionAllowed"), {}
    )
    message = condition.get("message") if condition.get("status") == "False" else ""
    if message and condition.get("reason") == "SyncFailed":
        return (
            f"The disruption budget {name} does not allow evicting pods currently because it "
            f"failed sync: {message}"
        )
    if healthy <= desired:
        return (
            f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    if message:
        reason = condition.get("reason", "")
        return (
            f"The disruption budget {name} does not allow evicting pods currently ({reason}): "
            f"{message}"
        )
    return f"The disruption budget {name} does not allow evicting pods currently"


def _refused(text: str, wait_seconds: int) -> TooManyRequests:
    return TooManyRequests(
        REFUSED,
        causes=[Cause("", "DisruptionBudget", text)],
        retry_after_seconds=wait_seconds,
    )


def spent(budget: JSON, pod: str, now: str) -> JSON:
    """Return a copy of a budget with one disruption less, and the pod in disruptedPods."""
    status = {**budget["status"]}
    status["disruptionsAllowed"] -= 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: now}
    changed = {**budget, "status": status, "metadata": {**budget["metadata"]}}
    if status["disruptionsAllowed"] == 0:
        status["conditions"] = [dict(one) for one in status.get("conditions") or ()]
        condition = {
            "type": "DisruptionAllowed",
            "status": "False",
            "reason": "InsufficientPods",
            "message": "",
            "observedGeneration": status.get("observedGeneration", 0),
        }
        set_condition(status, condition, now)
    return changed
