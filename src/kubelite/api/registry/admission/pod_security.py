"""PodSecurity: enforces, audits and warns by the Pod Security Standards that the labels of a namespace select."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, Invalid
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod as PodKind
from kubelite.api.kinds.model import to_wire
from kubelite.api.registry.admission.pod_security_checks import (
    LATEST,
    Failure,
    Json,
    Pod,
    Version,
    failures,
)
from kubelite.api.registry.admission.refusal import forbidden, is_main, metadata
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

LABEL = "pod-security.kubernetes.io/"
PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "audit", "warn")
IGNORED_SUBRESOURCES = frozenset(
    {"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"}
)
PODS_CHECKED_MAX = 3000  # of a namespace whose level is raised
PODS_AT_ONCE = 100

# Where workload kinds keep their pod template.
TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}


class Standard(Struct, frozen=True):
    """A Pod Security Standard: a level at a version."""

    level: str = PRIVILEGED
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def failures(self, meta: Json, spec: Json, *, nodes_isolate_users: bool) -> list[Failure]:
        """Return the checks of the standard that a pod fails."""
        if self.level == PRIVILEGED:
            return []
        annotations = meta.get("annotations") or {}
        pod = Pod(spec, annotations, _numbers(self.version), nodes_isolate_users)
        return failures(pod, restricted=self.level == RESTRICTED)


class Policy(Struct, frozen=True):
    """The standards that a namespace's labels select; an invalid label counts as the strictest (fail closed)."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()
    problems: tuple[Cause, ...] = ()


class PodSecurity:
    """Rejects pods, warns about workloads, and warns of existing pods that fail a stricter label."""

    name: ClassVar = "PodSecurity"

    def __init__(self, lookup: Lookup, *, defaults: Policy | None = None) -> None:
        """`defaults` apply to a namespace without labels."""
        self._lookup = lookup
        self._defaults = defaults or Policy()

    async def validate(self, request: AdmissionRequest) -> None:
        """Check a pod, a workload or a namespace; raises Forbidden or Invalid."""
        if request.object is None or request.operation not in (Verb.CREATE, Verb.UPDATE):
            return
        if is_main(request, "namespaces"):
            await self._namespace(request)
        elif (request.resource.group, request.resource.plural) == ("", "pods"):
            self._pod(request)
        elif (request.resource.group, request.resource.plural) in TEMPLATES:
            self._workload(request)

    def _pod(self, request: AdmissionRequest) -> None:
        item = request.object
        assert item is not None
        if request.attributes.subresource in IGNORED_SUBRESOURCES:
            return
        if request.old is not None and not is_significant(item, request.old):
            return
        policy = self._policy(request)
        meta, spec = metadata(item), item.get("spec") or {}
        request.annotate(f"{LABEL}enforce-policy", str(policy.enforce))
        self._note(request, policy, meta, spec)
        if found := self._failures(policy.enforce, meta, spec):
            raise forbidden(request, f'violates PodSecurity "{policy.enforce}": {_details(found)}')
        self._warn(request, policy, meta, spec)

    def _workload(self, request: AdmissionRequest) -> None:
        if request.attributes.subresource:
            return
        template: Any = request.object
        for field in TEMPLATES[request.resource.group, request.resource.plural]:
            template = (template or {}).get(field)
        if template:
            policy, meta, spec = (
                self._policy(request),
                metadata(template),
                template.get("spec") or {},
            )
            self._note(request, policy, meta, spec)
            self._warn(request, policy, meta, spec)

    def _note(self, request: AdmissionRequest, policy: Policy, meta: Json, spec: Json) -> None:
        if found := self._failures(policy.audit, meta, spec):
            text = f'would violate PodSecurity "{policy.audit}": {_details(found)}'
            request.annotate(f"{LABEL}audit-violations", text)

    def _warn(self, request: AdmissionRequest, policy: Policy, meta: Json, spec: Json) -> None:
        if found := self._failures(policy.warn, meta, spec):
            request.add_warning(f'would violate PodSecurity "{policy.warn}": {_details(found)}')

    def _failures(self, standard: Standard, meta: Json, spec: Json) -> list[Failure]:
        isolates = spec.get("hostUsers") is False and self._nodes_isolate_users()
        return standard.failures(meta, spec, nodes_isolate_users=isolates)

    def _nodes_isolate_users(self) -> bool:
        """Return whether each node reports user namespaces; one that does not may run the pod as the host's root."""
        nodes = self._lookup.list(Node)
        return bool(nodes) and all(map(isolates_users, nodes))

    def _policy(self, request: AdmissionRequest) -> Policy:
        namespace = self._lookup.get(Namespace, request.attributes.namespace)
        return policy_of(namespace.metadata.labels if namespace else {}, self._defaults)

    async def _namespace(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        name = metadata(request.object).get("name", "")
        new = policy_of(metadata(request.object).get("labels") or {}, self._defaults)
        old = (
            None
            if request.old is None
            else policy_of(metadata(request.old).get("labels") or {}, self._defaults)
        )
        if new.problems and (old is None or old.problems != new.problems):
            details = ", ".join(f"{cause.path}: {cause.message}" for cause in new.problems)
            details = f"[{details}]" if len(new.problems) > 1 else details
            raise Invalid(
                f'Namespace "{name}" is invalid: {details}',
                kind="Namespace",
                name=name,
                causes=new.problems,
            )
        if old is None or not _is_stricter(new.enforce, old.enforce):
            return
        for warning in await self._hit(name, new.enforce):
            request.add_warning(warning)

    async def _hit(self, namespace: str, standard: Standard) -> list[str]:
        """Return warnings about the pods of a namespace that fail a standard."""
        pods = list(self._lookup.list(PodKind, namespace))
        isolates = self._nodes_isolate_users()  # once, since there may be many nodes
        by_reason: dict[str, list[str]] = {}
        for index, pod in enumerate(pods[:PODS_CHECKED_MAX]):
            if index % PODS_AT_ONCE == PODS_AT_ONCE - 1:
                await asyncio.sleep(0)  # yield to other tasks
            wire = to_wire(pod)
            meta, spec = metadata(wire), wire.get("spec") or {}
            if found := standard.failures(meta, spec, nodes_isolate_users=isolates):
                reasons = ", ".join(dict.fromkeys(failure.reason for failure in found))
                by_reason.setdefault(reasons, []).append(pod.metadata.name)
        warnings = []
        if len(pods) > PODS_CHECKED_MAX:
            warnings.append(
                f"new PodSecurity enforce level only checked against the first {PODS_CHECKED_MAX} of {len(pods)} "
                "existing pods"
            )
        if by_reason:
            warnings.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{standard}"'
            )
        return warnings + sorted(_counted(names, reasons) for reasons, names in by_reason.items())


def isolates_users(node: Node) -> bool:
    """Return whether a node reports that its default handler can give each pod a user namespace of its own."""
    default = (handler for handler in node.status.runtimeHandlers if not handler.name)
    return any(one.features is not None and one.features.userNamespaces for one in default)


def policy_of(labels: Mapping[str, str], defaults: Policy | None = None) -> Policy:
    """Return the policy of a namespace's labels."""
    standards: dict[str, Standard] = {}
    problems: list[Cause] = []
    for mode in MODES:
        default: Standard = getattr(defaults or Policy(), mode)
        standards[mode] = _standard(labels, mode, default, problems)
    is_set = labels.get(f"{LABEL}enforce") in LEVELS
    if (
        is_set
        and f"{LABEL}warn" not in labels
        and _rank(standards["warn"]) < _rank(standards["enforce"])
    ):
        # Without a warn label, workloads are warned about at the enforced level.
        own = f"{LABEL}warn-version" in labels
        version = standards["warn" if own else "enforce"].version
        standards["warn"] = Standard(standards["enforce"].level, version)
    return Policy(standards["enforce"], standards["audit"], standards["warn"], tuple(problems))


def is_significant(new: Json, old: Json) -> bool:
    """Return whether an update of a pod must be checked again: only images and ephemeral containers can change."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for field in ("containers", "initContainers"):
        images = [[one.get("image") for one in spec.get(field) or []] for spec in (after, before)]
        if images[0] != images[1]:
            return True
    known = {one.get("name"): one.get("image") for one in before.get("ephemeralContainers") or []}
    return any(
        known.get(one.get("name"), "") != one.get("image")
        for one in after.get("ephemeralContainers") or []
    )


def _standard(
    labels: Mapping[str, str], mode: str, default: Standard, problems: list[Cause]
) -> Standard:
    level, version = labels.get(f"{LABEL}{mode}"), labels.get(f"{LABEL}{mode}-version")
    if level is not None and level not in LEVELS:
        message = f'Invalid value: "{level}": must be one of {", ".join(LEVELS)}'
        problems.append(Cause(f"metadata.labels[{LABEL}{mode}]", "FieldValueInvalid", message))
        level = RESTRICTED if mode == "enforce" else PRIVILEGED
    if version is not None and not _is_version(version):
        message = f'Invalid value: "{version}": must be "latest" or "v1.x"'
        problems.append(
            Cause(f"metadata.labels[{LABEL}{mode}-version]", "FieldValueInvalid", message)
        )
        version = "latest"
    return Standard(
        default.level if level is None else level, default.version if version is None else version
    )


def _is_version(text: str) -> bool:
    minor = text.removeprefix("v1.")
    is_number = minor.isascii() and minor.isdigit() and (minor == "0" or not minor.startswith("0"))
    return text == "latest" or (text.startswith("v1.") and is_number)


def _numbers(version: str) -> Version:
    return LATEST if version == "latest" else (1, int(version.removeprefix("v1.")))


def _rank(standard: Standard) -> int:
    return LEVELS.index(standard.level)


def _is_stricter(new: Standard, old: Standard) -> bool:
    if new == old or new.level == PRIVILEGED:
        return False
    return new.version != old.version or _rank(new) > _rank(old)


def _details(found: Sequence[Failure]) -> str:
    return ", ".join(f"{failure.reason} ({failure.detail})" for failure in found)


def _counted(names: Sequence[str], reasons: str) -> str:
    first, others = min(names), len(names) - 1
    more = "" if not others else f" (and {others} other pod{'s' if others > 1 else ''})"
    return f"{first}{more}: {reasons}"
