"""componentstatuses: the health of the control plane's components, probed at each request. Deprecated in Kubernetes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Probe = Callable[[], str]  # returns an error text; "": healthy


def component_statuses(probes: Mapping[str, Probe]) -> Callable[[], Sequence[dict[str, Any]]]:
    """Return a function that probes each component and lists the results, sorted by name."""
    return lambda: [_status(name, probe()) for name, probe in sorted(probes.items())]


def _status(name: str, problem: str) -> dict[str, Any]:
    condition = {"type": "Healthy", "status": "False" if problem else "True"}
    condition["error" if problem else "message"] = problem or "ok"
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    }
