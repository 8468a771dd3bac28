"""PodResizeValidator: rejects resizes that the pod's node could never grant."""

from collections.abc import Mapping
from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, Forbidden
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.pod_amounts import amounts, pod_amounts
from kubelite.api.machinery.quantity import ZERO
from kubelite.api.registry.admission.refusal import forbidden, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

OS_LABEL = "kubernetes.io/os"
UNSUPPORTED, TOO_LARGE = "UnsupportedPlatform", "NodeCapacity"


class PodResizeValidator:
    """Compares the requests of a resized pod with what its node can allocate."""

    name: ClassVar = "PodResizeValidator"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, request: AdmissionRequest) -> None:
        """Reject a resize beyond the node's allocatable cpu or memory, or on another system; raises Forbidden."""
        if not _is_resize(request) or request.object is None or request.old is None:
            return
        pod = spec(request.object)
        node_name = pod.get("nodeName")
        if not node_name or pod == request.old.get("spec"):
            return
        node = self._lookup.get(Node, node_name)
        if node is None:
            raise forbidden(request, f"node {quoted(node_name)} not found")
        system = node.metadata.labels.get(OS_LABEL, "linux")
        if system != "linux":
            what = f"node {quoted(node_name)} is {quoted(system)}"
            raise _rejected(
                request, f"pod resize is only supported on linux nodes, {what}", UNSUPPORTED
            )
        if lacking := _lacking(pod, node.status.allocatable):
            words = f"node didn't have enough allocatable resources: {lacking}"
            raise _rejected(request, words, TOO_LARGE)


def _is_resize(request: AdmissionRequest) -> bool:
    resource, part = request.resource, request.attributes.subresource
    is_of_pod = (resource.group, resource.plural, part) == ("", "pods", "resize")
    return is_of_pod and request.operation is Verb.UPDATE


def _lacking(pod: Mapping[str, Any], allocatable: Mapping[str, str]) -> str:
    """Return what the node could not give even if it were empty, "" for nothing."""
    requests, present = pod_amounts(pod, "requests", overhead=True), amounts(allocatable)
    lacking = []
    for name in ("cpu", "memory"):
        wanted, most = requests.get(name, ZERO), present.get(name, ZERO)
        if most < wanted:
            numbers = [
                one.milli_value() if name == "cpu" else one.value() for one in (wanted, most)
            ]
            lacking.append(f"{name}, requested: {numbers[0]}, allocatable: {numbers[1]}")
    return "; ".join(lacking)


def _rejected(request: AdmissionRequest, words: str, reason: str) -> Forbidden:
    return forbidden(request, words, [Cause("", reason, "")])
