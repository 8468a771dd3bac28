"""The plugins of admission policies, which cost nothing until a binding exists.

Expressions bring in a whole language, so what evaluates them is imported when the first binding is in effect.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

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


class InUse:
    """Whether any object of a kind exists."""

    def __init__(self, lookup: Lookup, kind: type[Kind]) -> None:
        self._count = 0
        lookup.subscribe(kind, self._changed)

    def _changed(self, before: Any, after: Any) -> None:
        self._count += (after is not None) - (before is not None)

    def __bool__(self) -> bool:
        return self._count > 0


class _Validates(Protocol):
    async def validate(self, request: AdmissionRequest) -> None: ...


class ValidatingAdmissionPolicies(JudgesConnections):
    """Has policies refuse what is written."""

    name: ClassVar = "ValidatingAdmissionPolicy"

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        mirroring: Mirroring,
        offload: Offload,
    ) -> None:
        self._in_use = InUse(lookup, ValidatingAdmissionPolicyBinding)
        self._make: Callable[[], _Validates] = lambda: _validating(
            lookup, resources, authorizer, mirroring, offload
        )
        self._made: _Validates | None = None

    async def validate(self, request: AdmissionRequest) -> None:
        """Ask the policies that a request concerns; raises the first denial."""
        if self._made is None:
            if not self._in_use:
                return
            self._made = (
                self._make()
            )  # stays, to give back what it holds when the last binding goes
        await self._made.validate(request)


def _validating(*parts: Any) -> _Validates:
    from kubelite.api.registry.admission.policies.validating import Validating

    return Validating(*parts)


class _Mutates(Protocol):
    async def mutate(self, request: AdmissionRequest) -> None: ...


class MutatingAdmissionPolicies(JudgesConnections):
    """Has policies change what is written."""

    name: ClassVar = "MutatingAdmissionPolicy"

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        mirroring: Mirroring,
        offload: Offload,
    ) -> None:
        self._in_use = InUse(lookup, MutatingAdmissionPolicyBinding)
        self._make: Callable[[], _Mutates] = lambda: _mutating(
            lookup, resources, authorizer, mirroring, offload
        )
        self._made: _Mutates | None = None

    async def mutate(self, request: AdmissionRequest) -> None:
        """Have the policies that a request concerns change its object; raises Forbidden where one fails."""
        if not self._in_use:
            return
        if self._made is None:
            self._made = self._make()
        await self._made.mutate(request)


def _mutating(*parts: Any) -> _Mutates:
    from kubelite.api.registry.admission.policies.mutating import Mutating

    return Mutating(*parts)
