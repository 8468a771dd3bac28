"""RoleEscalation: a caller cannot grant rights it lacks. Kubernetes checks this in the storage of the RBAC kinds."""

from typing import Any, ClassVar

import msgspec

from kubelite.api.auth.escalation import GROUP, Escalation
from kubelite.api.registry.admission.request import AdmissionRequest


class RoleEscalation:
    """Checks writes of roles and bindings against the rights of the caller."""

    name: ClassVar = "RoleEscalation"

    def __init__(self, escalation: Escalation) -> None:
        self._escalation = escalation

    async def validate(self, request: AdmissionRequest) -> None:
        """Compare the granted rights with those of the caller; raises Forbidden or NotFound."""
        if request.resource.group != GROUP or request.object is None:
            return
        kind = request.resource.type
        assert kind is not None
        after: Any = msgspec.convert(request.object, kind)
        before: Any = msgspec.convert(request.old, kind) if request.old is not None else None
        self._escalation.check(request.caller, request.attributes, after, before)
