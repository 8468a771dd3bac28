"""RuntimeClass: sets the overhead, node selector and tolerations of a pod from its RuntimeClass."""

from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.model import to_wire
from kubelite.api.kinds.node import RuntimeClass as RuntimeClassKind
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.registry.admission.refusal import forbidden, is_main, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


class RuntimeClass:
    """Completes new pods by their RuntimeClass and checks their overhead."""

    name: ClassVar = "RuntimeClass"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set overhead, node selector and tolerations; raises Forbidden."""
        found = self._class_of(request)
        if found is None:
            return
        assert request.object is not None
        pod = spec(request.object)
        if found.overhead is not None:
            fixed = dict(found.overhead.podFixed)
            if pod.get("overhead") and not _same_amounts(pod["overhead"], fixed):
                raise forbidden(request, MISMATCH)
            pod["overhead"] = fixed
        if found.scheduling is not None:
            wire = to_wire(found.scheduling)
            selector = dict(pod.get("nodeSelector") or {})
            for key, value in (wire.get("nodeSelector") or {}).items():
                if selector.setdefault(key, value) != value:
                    raise forbidden(
                        request,
                        f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                        f"pod.spec.nodeSelector[{key}] = {selector[key]}",
                    )
            if selector:
                pod["nodeSelector"] = selector
            present = pod.get("tolerations") or []
            added = [one for one in wire.get("tolerations") or [] if one not in present]
            if added:
                pod["tolerations"] = [*present, *added]

    async def validate(self, request: AdmissionRequest) -> None:
        """Reject an overhead other than that of the class; raises Forbidden."""
        found = self._class_of(request)
        if request.object is None or not _is_creation(request):
            return
        overhead = spec(request.object).get("overhead") or {}
        if found is not None and found.overhead is not None:
            if not _same_amounts(overhead, found.overhead.podFixed):
                raise forbidden(request, MISMATCH)
        elif overhead:
            raise forbidden(
                request,
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )

    def _class_of(self, request: AdmissionRequest) -> RuntimeClassKind | None:
        if request.object is None or not _is_creation(request):
            return None
        name = spec(request.object).get("runtimeClassName")
        if not name:
            return None
        found = self._lookup.get(RuntimeClassKind, name)
        if found is None:
            raise forbidden(request, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _is_creation(request: AdmissionRequest) -> bool:
    return request.operation is Verb.CREATE and is_main(request, "pods")


def _same_amounts(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return {name: parse_quantity(str(amount)) for name, amount in one.items()} == {
        name: parse_quantity(str(amount)) for name, amount in other.items()
    }
