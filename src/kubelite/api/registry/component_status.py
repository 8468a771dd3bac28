"""componentstatuses: how the parts of the control plane are, asked anew for each answer. Deprecated, yet listed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Probe = Callable[[], str]  # what is wrong; an empty text: nothing


def component_statuses(probes: Mapping[str, Probe]) -> Callable[[], Sequence[dict[str, Any]]]:
    """Return what lists the components that `probes` ask, by name."""
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
