"""Warnings about pods and pod templates: fields that are deprecated, ignored or probably a mistake."""

from collections.abc import Iterator

from kubelite.api.machinery import names
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.containers import containers, ports
from kubelite.api.registry.rules.warnings.texts import (
    NO_SELECTOR,
    OLD_NODE_LABELS,
    fractional,
    node_requirements,
    odd_address,
    old_node_labels,
    surprising_name,
)
from kubelite.api.registry.rules.warnings.volumes import overlapping_paths, volumes

_SYSCTLS = 'non-functional in v1.11+; use the "sysctls" field instead'
_OLD_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": _SYSCTLS,
    "security.alpha.kubernetes.io/unsafe-sysctls": _SYSCTLS,
}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def create(pod: JSON) -> Iterator[str]:
    """Warn about a new pod; updates, which are many and rarely made by hand, get no warnings."""
    yield from surprising_name(pod, "the Pod's hostname")
    yield from _spec("", pod, is_template=False)


def status(pod: JSON, _: JSON) -> Iterator[str]:
    """Warn about the addresses that a node reports."""
    reported = part(pod, "status")
    for field in ("podIPs", "hostIPs"):
        for index, entry in enumerate(items(reported, field)):
            yield from odd_address(f"status.{field}[{index}].ip", entry.get("ip", ""))


def template(path: str, wanted: JSON) -> Iterator[str]:
    """Warn about the pod template at `path`."""
    yield from _spec(f"{path}.", wanted, is_template=True)


def _spec(prefix: str, pod: JSON, *, is_template: bool) -> Iterator[str]:
    spec, at = part(pod, "spec"), f"{prefix}spec"
    annotations = part(pod, "metadata", "annotations")
    yield from _placement(at, spec)
    for key, about in _OLD_ANNOTATIONS.items():
        if key in annotations:
            yield f"{prefix}metadata.annotations[{key}]: {about}"
    if found := spec.get("volumes"):
        yield from volumes(f"{at}.volumes", found)
        yield from overlapping_paths(found)
    yield from _names_once(at, spec)
    if overhead := spec.get("overhead"):
        yield from fractional(f"{at}.overhead", overhead, "memory", "ephemeral-storage")
    if _SECCOMP in annotations and not part(spec, "securityContext").get("seccompProfile"):
        yield (
            f"{prefix}metadata.annotations[{_SECCOMP}]: non-functional in v1.27+; "
            'use the "seccompProfile" field instead'
        )
    yield from containers(prefix, spec, annotations, is_template=is_template)
    yield from ports(at, spec)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield (
            f"{at}.terminationGracePeriodSeconds: must be >= 0; "
            "negative values are invalid and will be treated as 1"
        )
    if affinity := spec.get("affinity"):
        yield from _pod_affinity(f"{at}.affinity", affinity)
    for index, server in enumerate(items(part(spec, "dnsConfig"), "nameservers")):
        yield from odd_address(f"{at}.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(items(spec, "hostAliases")):
        yield from odd_address(f"{at}.hostAliases[{index}].ip", alias.get("ip", ""))


def _placement(at: str, spec: JSON) -> Iterator[str]:
    if selector := spec.get("nodeSelector"):
        yield from old_node_labels(f"{at}.nodeSelector", selector)
    if affinity := spec.get("affinity"):
        yield from _node_affinity(f"{at}.affinity.nodeAffinity", part(affinity, "nodeAffinity"))
    for index, constraint in enumerate(items(spec, "topologySpreadConstraints")):
        path, key = f"{at}.topologySpreadConstraints[{index}]", constraint.get("topologyKey", "")
        if (about := OLD_NODE_LABELS.get(key)) is not None:
            yield f"{path}.topologyKey: {key} is {about}"
        if constraint.get("labelSelector") is None:
            yield f"{path}.labelSelector: {NO_SELECTOR}"


def _node_affinity(at: str, affinity: JSON) -> Iterator[str]:
    terms = items(part(affinity, _REQUIRED), "nodeSelectorTerms")
    for index, term in enumerate(terms):
        path = f"{at}.{_REQUIRED}.nodeSelectorTerms[{index}].matchExpressions"
        yield from node_requirements(path, items(term, "matchExpressions"))
    for index, preferred in enumerate(items(affinity, _PREFERRED)):
        expressions = items(part(preferred, "preference"), "matchExpressions")
        path = f"{at}.{_PREFERRED}[{index}].preference.matchExpressions"
        yield from node_requirements(path, expressions)
        for position, expression in enumerate(expressions):
            for place, value in enumerate(items(expression, "values")):
                for finding in names.label_value(value):
                    yield f"{path}[{position}].values[{place}]: {value} is invalid, {finding}"


def _pod_affinity(at: str, affinity: JSON) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        for index, term in enumerate(items(part(affinity, kind), _REQUIRED)):
            if term.get("labelSelector") is None:
                yield f"{at}.{kind}.{_REQUIRED}[{index}].labelSelector: {NO_SELECTOR}"
        for index, weighted in enumerate(items(part(affinity, kind), _PREFERRED)):
            if part(weighted, "podAffinityTerm").get("labelSelector") is None:
                path = f"{at}.{kind}.{_PREFERRED}[{index}].podAffinityTerm"
                yield f"{path}.labelSelector: {NO_SELECTOR}"


def _names_once(at: str, spec: JSON) -> Iterator[str]:
    """Warn of list entries that apply would merge."""
    seen: set[str] = set()
    for index, alias in enumerate(items(spec, "hostAliases")):
        if (address := alias.get("ip", "")) in seen:
            yield f"{at}.hostAliases[{index}].ip: duplicate ip {quoted(address)}"
        seen.add(address)
    secrets = [one.get("name", "") for one in items(spec, "imagePullSecrets")]
    seen = set()
    for index, name in enumerate(secrets):
        if name in seen:
            yield f"{at}.imagePullSecrets[{index}].name: duplicate name {quoted(name)}"
        seen.add(name)
    for index, name in enumerate(secrets):
        if not name:
            yield f'{at}.imagePullSecrets[{index}].name: invalid empty name ""'
