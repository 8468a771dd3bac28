"""componentstatuses: the health of the control plane's components, probed at each request. Deprecated in Kubernetes."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.registry.handlers import Services


async def component_statuses(services: Services, namespace: str) -> Sequence[dict[str, Any]]:
    """Probe each component and return the results, sorted by name."""
    del namespace  # they are cluster-scoped
    return [_status(name, probe()) for name, probe in sorted(services.probes.items())]


def _status(name: str, problem: str) -> dict[str, Any]:
    condition = {"type": "Healthy", "status": "False" if problem else "True"}
    condition["error" if problem else "message"] = problem or "ok"
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    }
