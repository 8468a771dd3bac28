"""DefaultTolerationSeconds and TaintNodesByCondition: tolerations and taints for nodes that are not ready."""

from typing import Any, ClassVar

from kubelite.api.registry.admission.refusal import is_main, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
SECONDS = 300


class DefaultTolerationSeconds:
    """Lets pods tolerate a not-ready or unreachable node for some minutes."""

    name: ClassVar = "DefaultTolerationSeconds"

    def __init__(
        self, *, not_ready_seconds: int = SECONDS, unreachable_seconds: int = SECONDS
    ) -> None:
        self._seconds = {NOT_READY: not_ready_seconds, UNREACHABLE: unreachable_seconds}

    async def mutate(self, request: AdmissionRequest) -> None:
        """Add the default tolerations that a pod lacks."""
        if request.object is None or not is_main(request, "pods"):
            return
        pod = spec(request.object)
        present = pod.get("tolerations") or []
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for key, seconds in self._seconds.items()
            if not any(_tolerates(toleration, key) for toleration in present)
        ]
        if added:
            pod["tolerations"] = [*present, *added]


class TaintNodesByCondition:
    """Taints new nodes as not ready; the node controller removes the taint."""

    name: ClassVar = "TaintNodesByCondition"

    async def mutate(self, request: AdmissionRequest) -> None:
        """Add the not-ready taint to a new node."""
        if request.object is None or request.operation is not Verb.CREATE:
            return
        if not is_main(request, "nodes"):
            return
        node = spec(request.object)
        taints = node.get("taints") or []
        if not any(t.get("key") == NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
            node["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


def _tolerates(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key") in (key, "", None) and toleration.get("effect") in (
        "NoExecute",
        "",
        None,
    )
