"""DenyServiceExternalIPs: no Service may get new external IPs.

External IPs let the writer of a Service intercept traffic of pods to any address (CVE-2020-8554). Off by default, as in
Kubernetes.
"""

from typing import Any, ClassVar

from kubelite.api.registry.admission.refusal import forbidden, is_main
from kubelite.api.registry.admission.request import AdmissionRequest


class DenyServiceExternalIPs:
    """Rejects new external IPs; a Service may keep or drop those it has."""

    name: ClassVar = "DenyServiceExternalIPs"

    async def validate(self, request: AdmissionRequest) -> None:
        """Compare the external IPs with the old ones; raises Forbidden."""
        if request.object is None or not is_main(request, "services"):
            return
        if _addresses(request.object) - _addresses(request.old or {}):
            raise forbidden(request, "Use of external IPs is denied by admission control")


def _addresses(service: dict[str, Any]) -> set[str]:
    return set((service.get("spec") or {}).get("externalIPs") or [])
