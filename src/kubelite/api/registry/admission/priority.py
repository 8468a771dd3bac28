"""Priority: resolves a pod's priority class to its number, and protects the system's classes."""

from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.scheduling import PriorityClass
from kubelite.api.registry.admission.refusal import forbidden, is_main, object_name, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

# The classes of the system's pods, with values and descriptions.
SYSTEM_CLASSES = {
    "system-cluster-critical": (
        2_000_000_000,
        (
            "Used for system critical pods that must run in the cluster, "
            "but can be moved to another node if necessary."
        ),
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}
DEFAULT_PRIORITY = 0
DEFAULT_POLICY = "PreemptLowerPriority"


class Priority:
    """Sets the priority of pods, and allows only one default class."""

    name: ClassVar = "Priority"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the priority of a new pod from its class; raises Forbidden."""
        if request.object is None or not is_main(request, "pods"):
            return
        pod = spec(request.object)
        if request.operation is Verb.CREATE:
            self._resolve(request, pod)
        elif request.operation is Verb.UPDATE and request.old is not None:
            before = request.old.get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if pod.get(field) is None and before.get(field) is not None:
                    pod[field] = before[field]

    async def validate(self, request: AdmissionRequest) -> None:
        """Reject a second default class, and the deletion of a system class; raises Forbidden."""
        if not is_main(request, "priorityclasses", "scheduling.k8s.io"):
            return
        if request.operation is Verb.DELETE and object_name(request) in SYSTEM_CLASSES:
            raise forbidden(request, "this is a system priority class and cannot be deleted")
        item = request.object
        if item is None:
            return
        default = default_class(self._lookup)
        if not item.get("globalDefault") or default is None:
            return
        name = default.metadata.name
        if request.operation is Verb.CREATE or name != item["metadata"].get("name"):
            raise forbidden(
                request,
                f"PriorityClass {name} is already marked as default. Only one default can exist",
            )

    def _resolve(self, request: AdmissionRequest, pod: dict[str, Any]) -> None:
        name = pod.get("priorityClassName")
        found = self._lookup.get(PriorityClass, name) if name else default_class(self._lookup)
        if name and found is None:
            raise forbidden(request, f"no PriorityClass with name {name} was found")
        number = found.value if found else DEFAULT_PRIORITY
        policy = (found.preemptionPolicy if found else None) or DEFAULT_POLICY
        if found is not None:
            pod["priorityClassName"] = found.metadata.name
        given = pod.get("priority")
        if given is not None and given != number:
            raise forbidden(
                request,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
                f"controller computed {number} from the given PriorityClass name",
            )
        wanted = pod.get("preemptionPolicy")
        if wanted is not None and wanted != policy:
            raise forbidden(
                request,
                f"the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; priority "
                f"admission controller computed {policy} from the given PriorityClass name",
            )
        pod["priority"], pod["preemptionPolicy"] = number, policy


def default_class(lookup: Lookup) -> PriorityClass | None:
    """Return the class marked as default, of several the one with the lowest value; None: none."""
    marked = [item for item in lookup.list(PriorityClass) if item.globalDefault]
    return min(marked, key=lambda item: item.value, default=None)
