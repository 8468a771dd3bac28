"""The plugins of admission policies, which cost nothing until a binding exists.

Expressions bring in a whole language, so what evaluates them is imported when the first binding is in effect.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.admissionregistration import (
    MutatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBinding,
)
from kubelite.api.kinds.model import Kind
from kubelite.api.registry.admission.policies.params import Mirroring
from kubelite.api.registry.admission.request import AdmissionRequest, JudgesConnections
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

if TYPE_CHECKING:
    from kubelite.api.registry.admission.policies.mutating import Mutating
    from kubelite.api.registry.admission.policies.validating import Validating


class InUse:
    """Whether any object of a kind exists."""

    def __init__(self, lookup: Lookup, kind: type[Kind]) -> None:
        self._count = 0
        lookup.subscribe(kind, self._changed)

    def _changed(self, before: Any, after: Any) -> None:
        self._count += (after is not None) - (before is not None)

    def __bool__(self) -> bool:
        return self._count > 0


class _Policies(JudgesConnections):
    """What both plugins have in common."""

    _binding: ClassVar[type[Kind]]

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        mirroring: Mirroring,
        offload: Offload,
    ) -> None:
        self._in_use = InUse(lookup, self._binding)
        self._parts = (lookup, resources, authorizer, mirroring, offload)


class ValidatingAdmissionPolicies(_Policies):
    """Has policies refuse what is written."""

    name: ClassVar = "ValidatingAdmissionPolicy"
    _binding = ValidatingAdmissionPolicyBinding

    async def validate(self, request: AdmissionRequest) -> None:
        """Ask the policies that a request concerns; raises the first denial."""
        # Once made it stays, to give back what it holds when the last binding goes.
        if self._in_use or "_made" in self.__dict__:
            await self._made.validate(request)

    @cached_property
    def _made(self) -> "Validating":
        from kubelite.api.registry.admission.policies.validating import Validating

        return Validating(*self._parts)


class MutatingAdmissionPolicies(_Policies):
    """Has policies change what is written."""

    name: ClassVar = "MutatingAdmissionPolicy"
    _binding = MutatingAdmissionPolicyBinding

    async def mutate(self, request: AdmissionRequest) -> None:
        """Have the policies that a request concerns change its object; raises Forbidden where one fails."""
        if self._in_use or "_made" in self.__dict__:
            await self._made.mutate(request)

    @cached_property
    def _made(self) -> "Mutating":
        from kubelite.api.registry.admission.policies.mutating import Mutating

        return Mutating(*self._parts)
