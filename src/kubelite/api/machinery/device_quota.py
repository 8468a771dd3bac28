"""What a ResourceClaim uses of quotas: devices by their class, and by the extended resource that the class serves.

The claim that a scheduler makes for the extended resources of a pod counts for no more than the pod does already. Names
and rules are upstream's (pkg/quota/v1/evaluator/core).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from kubelite.api.machinery.extended_resources import CLAIM_ANNOTATION, CLASS_PREFIX
from kubelite.api.machinery.quantity import Quantity

PLURAL: Final = ("resourceclaims", "resource.k8s.io")
DEVICES_SUFFIX: Final = ".deviceclass.resource.k8s.io/devices"
ALL_DEVICES: Final = 32  # what a request for all devices counts for: as many as a claim can have
ZERO: Final = Quantity(0)

Json = Mapping[str, Any]
Amounts = dict[str, Quantity]


class Surroundings(Struct, frozen=True):
    """What claims of a namespace are counted by."""

    resource_of: Callable[[str], str]  # the extended resource that a class names, or ""
    pod: Callable[[str], Json | None]  # by name
    first_claim: Callable[
        [str], str
    ]  # the first claim for a pod's extended resources, by the pod's uid


def is_of_claims(name: str) -> bool:
    """Return whether the devices of claims may count for a quota's resource."""
    return name.endswith(DEVICES_SUFFIX) or (name.startswith("requests.") and "/" in name)


def claim_usage(claim: Json, around: Surroundings, pod_usage: Callable[[Json], Amounts]) -> Amounts:
    """Return the devices that a claim asks for; `pod_usage` returns what a pod uses."""
    by_class: dict[str, int] = {}
    devices = (claim.get("spec") or {}).get("devices") or {}
    for request in devices.get("requests") or ():
        for name, count in _counts(request).items():
            by_class[name] = by_class.get(name, 0) + count
    used = {f"{name}{DEVICES_SUFFIX}": Quantity(count) for name, count in by_class.items()}
    extended = dict(_extended(by_class, around))
    if extended:
        covered = _covered(claim, around, pod_usage)
        for name, amount in extended.items():
            rest = amount - covered.get(name, ZERO)
            if rest > ZERO:
                used[name] = rest
    return used


def first_claims(claims: Iterable[Json]) -> dict[str, str]:
    """Return the name of the first claim for extended resources of each pod, by the pod's uid."""
    first: dict[str, tuple[str, str]] = {}
    for claim in claims:
        owner = _owner(claim)
        if owner is not None:
            meta = claim.get("metadata") or {}
            mark = (meta.get("creationTimestamp") or "", meta.get("name") or "")
            uid = owner.get("uid") or ""
            first[uid] = min(first.get(uid, mark), mark)
    return {uid: name for uid, (_, name) in first.items()}


def _counts(request: Json) -> dict[str, int]:
    """Return how many devices of each class a request asks for, of alternatives the most."""
    found: dict[str, int] = {}
    for asked in request.get("firstAvailable") or [request.get("exactly") or {}]:
        name, mode = asked.get("deviceClassName"), asked.get("allocationMode", "ExactCount")
        count = {"All": ALL_DEVICES, "ExactCount": asked.get("count") or 0}.get(mode, 0)
        if name:
            found[name] = max(count, found.get(name, 0))
    return found


def _extended(by_class: Mapping[str, int], around: Surroundings) -> Iterable[tuple[str, Quantity]]:
    for name, count in by_class.items():
        if resource := around.resource_of(name):
            yield f"requests.{CLASS_PREFIX}{name}", Quantity(count)
            yield f"requests.{resource}", Quantity(count)


def _covered(claim: Json, around: Surroundings, pod_usage: Callable[[Json], Amounts]) -> Amounts:
    """Return what the pod uses for whose extended resources a claim was made."""
    owner = _owner(claim)
    pod = around.pod(owner.get("name") or "") if owner is not None else None
    if owner is None or pod is None or (pod.get("metadata") or {}).get("uid") != owner.get("uid"):
        return {}
    name = (claim.get("metadata") or {}).get("name") or ""
    status = (pod.get("status") or {}).get("extendedResourceClaimStatus")
    known = status.get("resourceClaimName") if status else around.first_claim(owner["uid"])
    return pod_usage(pod) if known in ("", name) else {}


def _owner(claim: Json) -> Json | None:
    """Return the reference to the pod for whose extended resources a claim was made, None for other claims."""
    meta = claim.get("metadata") or {}
    if (meta.get("annotations") or {}).get(CLAIM_ANNOTATION) != "true":
        return None
    for one in meta.get("ownerReferences") or ():
        if one.get("controller"):
            is_pod = (one.get("apiVersion"), one.get("kind")) == ("v1", "Pod")
            return one if is_pod else None
    return None
