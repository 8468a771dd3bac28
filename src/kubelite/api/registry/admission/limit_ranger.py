"""LimitRanger: sets default requests and limits of containers, and enforces bounds on pods and claims."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.core.quota import LimitRange, LimitRangeItem
from kubelite.api.machinery.pod_amounts import Amounts, amounts, pod_amounts
from kubelite.api.machinery.quantity import Quantity, parse_quantity
from kubelite.api.registry.admission.refusal import forbidden, metadata, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

ANNOTATION = "kubernetes.io/limit-ranger"
ZERO = Quantity(0)


class LimitRanger:
    """Applies the LimitRanges of a namespace."""

    name: ClassVar = "LimitRanger"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the default requests and limits of a new pod's containers."""
        if request.object is None or not _concerns(request) or request.resource.plural != "pods":
            return
        for limits in self._ranges(request):
            set_defaults(request.object, limits)

    async def validate(self, request: AdmissionRequest) -> None:
        """Check the bounds of a pod or claim; raises Forbidden."""
        if request.object is None or not _concerns(request):
            return
        for limits in self._ranges(request):
            if request.resource.plural == "pods":
                problems = list(pod_problems(spec(request.object), limits))
            else:
                problems = list(claim_problems(spec(request.object), limits))
            if problems:
                raise forbidden(
                    request, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
                )

    def _ranges(self, request: AdmissionRequest) -> list[LimitRange]:
        if request.old is not None and metadata(request.old).get("deletionTimestamp"):
            return []
        return list(self._lookup.list(LimitRange, request.attributes.namespace))


def set_defaults(pod: dict[str, Any], limits: LimitRange) -> None:
    """Set missing requests and limits of a pod's containers, and record them in an annotation."""
    requests: dict[str, str] = {}
    maxima: dict[str, str] = {}
    for item in limits.spec.limits:
        if item.type == "Container":
            requests |= item.defaultRequest
            maxima |= item.default
    notes = []
    for field, noun in (("containers", "container"), ("initContainers", "init container")):
        for container in spec(pod).get(field) or []:
            resources = container.get("resources") or {}
            for key, word, defaults in (
                ("requests", "request", requests),
                ("limits", "limit", maxima),
            ):
                present = resources.get(key) or {}
                added = {name: amount for name, amount in defaults.items() if name not in present}
                if added:
                    resources[key] = {**present, **added}
                    notes.append(
                        f"{', '.join(sorted(added))} {word} for {noun} {container.get('name', '')}"
                    )
            if resources:
                container["resources"] = resources
    if notes:
        meta = pod["metadata"]
        annotations = meta.get("annotations") or {}
        meta["annotations"] = {
            **annotations,
            ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}",
        }


def pod_problems(pod: Mapping[str, Any], limits: LimitRange) -> Iterator[str]:
    """Yield a text for each bound that a pod violates."""
    for item in limits.spec.limits:
        if item.type == "Container":
            for container in [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]:
                resources = container.get("resources") or {}
                yield from problems(
                    item, amounts(resources.get("requests")), amounts(resources.get("limits"))
                )
        elif item.type == "Pod":
            yield from problems(item, pod_amounts(pod, "requests"), pod_amounts(pod, "limits"))


def claim_problems(claim: Mapping[str, Any], limits: LimitRange) -> Iterator[str]:
    """Yield a text for each bound that a claim violates."""
    requests = amounts((claim.get("resources") or {}).get("requests"))
    for item in limits.spec.limits:
        if item.type != "PersistentVolumeClaim":
            continue
        for name, text in item.min.items():
            yield from _minimum(item.type, name, parse_quantity(text), requests, {})
        for name, text in item.max.items():
            bound = parse_quantity(text)
            start = f"maximum {name} usage per {item.type} is {bound}"
            if name not in requests:
                yield f"{start}.  No request is specified"
            elif requests[name] > bound:
                yield f"{start}, but request is {requests[name]}"


def problems(item: LimitRangeItem, requests: Amounts, limits: Amounts) -> Iterator[str]:
    """Yield a text for each bound of `item` that requests and limits violate."""
    for name, text in sorted(item.min.items()):
        yield from _minimum(item.type, name, parse_quantity(text), requests, limits)
    for name, text in sorted(item.max.items()):
        yield from _maximum(item.type, name, parse_quantity(text), requests, limits)
    for name, text in sorted(item.maxLimitRequestRatio.items()):
        yield from _ratio(item.type, name, parse_quantity(text), requests, limits)


def _minimum(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    start = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        yield f"{start}.  No request is specified"
    elif requests[name] < bound:
        yield f"{start}, but request is {requests[name]}"
    elif name in limits and limits[name] < bound:
        yield f"{start}, but limit is {limits[name]}"


def _maximum(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    start = f"maximum {name} usage per {kind} is {bound}"
    if name not in limits:
        yield f"{start}.  No limit is specified"
    elif limits[name] > bound:
        yield f"{start}, but limit is {limits[name]}"
    elif name in requests and requests[name] > bound:
        yield f"{start}, but request is {requests[name]}"


def _ratio(
    kind: str, name: str, bound: Quantity, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    start = f"{name} max limit to request ratio per {kind} is {bound}"
    if not requests.get(name, ZERO):
        yield f"{start}, but no request is specified or request is 0"
    elif not limits.get(name, ZERO):
        yield f"{start}, but no limit is specified or limit is 0"
    else:
        ratio = limits[name].amount / requests[name].amount
        if ratio > bound.amount:
            yield f"{start}, but provided ratio is {ratio:.6f}"


def _concerns(request: AdmissionRequest) -> bool:
    if request.resource.group or request.resource.plural not in ("pods", "persistentvolumeclaims"):
        return False
    if request.operation not in (Verb.CREATE, Verb.UPDATE):
        return False
    is_pod, subresource = request.resource.plural == "pods", request.attributes.subresource
    if is_pod and subresource == "resize" and request.operation is Verb.UPDATE:
        return True
    return not subresource and not (is_pod and request.operation is Verb.UPDATE)
