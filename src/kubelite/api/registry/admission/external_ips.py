"""DenyServiceExternalIPs: no service may begin to use external addresses.

Whoever may write services can otherwise take traffic to any address that the cluster's pods use (CVE-2020-8554). Off by
default, as in Kubernetes.
"""

from typing import Any, ClassVar

from kubelite.api.registry.admission.refusal import forbidden, is_main
from kubelite.api.registry.admission.request import AdmissionRequest


class DenyServiceExternalIPs:
    """Refuses new external addresses; a service that has some may keep or drop them."""

    name: ClassVar = "DenyServiceExternalIPs"

    async def validate(self, request: AdmissionRequest) -> None:
        """Compare the addresses with those before; raises Forbidden."""
        if request.object is None or not is_main(request, "services"):
            return
        if _addresses(request.object) - _addresses(request.old or {}):
            raise forbidden(request, "Use of external IPs is denied by admission control")


def _addresses(service: dict[str, Any]) -> set[str]:
    return set((service.get("spec") or {}).get("externalIPs") or [])
