"""pods/binding: binds a pod to a node, for schedulers."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import BadRequest, Conflict
from kubelite.api.kinds.core.pods import Binding, Pod
from kubelite.api.machinery import causes
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.machinery.times import format_time
from kubelite.api.registry.answers import Written
from kubelite.api.registry.handlers import Services
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.posted import take
from kubelite.api.registry.target import Target
from kubelite.api.registry.writing import Decode

FORM = GoShape(Binding)
CREATED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
JSON = dict[str, Any]


async def bind_pod(
    services: Services, target: Target, body: JSON, options: WriteOptions
) -> Written:
    """Bind the pod of the path; raises NotFound, BadRequest, Invalid, and Conflict for a bound or deleted pod."""
    warnings = await take(services, target, body, FORM, options)
    if body["metadata"].get("name") != target.name:
        raise BadRequest("name in URL does not match name in Binding object")
    return await _bind(services, target, body, options, warnings)


async def _bind(
    services: Services, target: Target, body: JSON, options: WriteOptions, warnings: Sequence[str]
) -> Written:
    metadata = body["metadata"]
    target = replace(target, is_step=True)
    node = _node(body, target.name)
    writer = services.writer

    def revise(read: Decode | None) -> JSON:
        assert read is not None
        return bound(read(), node, metadata, format_time(writer.clock.now()))

    # As in Kubernetes, a binding records no field manager.
    written = await writer.update(target, revise, options, warnings=warnings, applied=True)
    return Written(encode(CREATED), created=True, warnings=written.warnings)


async def bind_by_body(
    services: Services, target: Target, body: JSON, options: WriteOptions
) -> Written:
    """Bind a pod by a POST to ``bindings``, the old form that names the pod only in the body."""
    warnings = await take(services, target, body, FORM, options)
    pods = services.resources.of(Pod)
    attributes = replace(
        target.allowed.attributes,
        resource=pods.plural,
        subresource="binding",
        name=body["metadata"].get("name", ""),
    )
    target = Target(replace(target.allowed, attributes=attributes), pods, pods)
    return await _bind(services, target, body, options, warnings)


def _node(body: JSON, name: str) -> str:
    """Return the node that a binding names; raises Invalid."""
    target = body.get("target") or {}
    found = []
    if target.get("kind") not in (None, "", "Node", "Minion"):
        supported = ("Node", "Minion", "<empty>")
        found.append(causes.unsupported("target.kind", target["kind"], supported))
    if not target.get("name"):
        found.append(causes.required("target.name"))
    if found:
        raise causes.invalid_object("Binding", "", name, found)
    node: str = target["name"]
    return node


def bound(pod: JSON, node: str, binding: JSON, now: str) -> JSON:
    """Return `pod`, which is changed, bound to a node; raises Conflict."""
    metadata, spec = pod["metadata"], pod["spec"]
    name, text = metadata["name"], ""
    if metadata.get("deletionTimestamp"):
        text = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        text = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    elif spec.get("schedulingGates"):
        text = f"pod {name} has non-empty .spec.schedulingGates"
    elif binding.get("uid") and binding["uid"] != metadata["uid"]:
        text = (
            f"Precondition failed: UID in precondition: {binding['uid']}, "
            f"UID in object meta: {metadata['uid']}"
        )
    elif binding.get("resourceVersion") not in (None, "", metadata.get("resourceVersion")):
        text = (
            "Precondition failed: ResourceVersion in precondition: "
            f"{binding['resourceVersion']}, ResourceVersion in object meta: "
            f"{metadata['resourceVersion']}"
        )
    if text:
        raise Conflict(
            f'Operation cannot be fulfilled on pods/binding "{name}": {text}',
            kind="pods/binding",
            name=name,
        )
    spec["nodeName"] = node
    for field in ("annotations", "labels"):
        if binding.get(field):
            metadata[field] = {**metadata.get(field, {}), **binding[field]}
    status = pod.setdefault("status", {})
    status.pop("nominatedNodeName", None)
    set_condition(status, {"type": "PodScheduled", "status": "True"}, now)
    return pod


def set_condition(status: JSON, condition: JSON, now: str) -> None:
    """Add a condition or replace that of the same type; lastTransitionTime changes only with its status."""
    conditions = status.setdefault("conditions", [])
    for index, present in enumerate(conditions):
        if present.get("type") == condition["type"]:
            same = present.get("status") == condition["status"]
            since = present.get("lastTransitionTime", now) if same else now
            conditions[index] = {**condition, "lastTransitionTime": since}
            return
    conditions.append({**condition, "lastTransitionTime": now})
