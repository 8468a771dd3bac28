"""The plugin MutatingAdmissionPolicy: expressions that change what is written.

Policies run in the order of their names, each once for each of its bindings and params objects that concern a request.
Where one cannot be evaluated the request is refused, unless its failurePolicy says otherwise.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, Forbidden, NotFound
from kubelite.api.kinds.admissionregistration import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
)
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.admission.policies.constraints import Found, is_exempt
from kubelite.api.registry.admission.policies.definitions import Binding, Definitions, Policy
from kubelite.api.registry.admission.policies.params import Mirroring, NotConfigured, Params
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest, JudgesConnections, Verb
from kubelite.api.registry.objects import encode
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

if TYPE_CHECKING:
    from kubelite.api.registry.admission.policies.mutations import Invocation, Mutations

JSON = dict[str, Any]
INVALID = "Invalid"


class Denial(Struct, frozen=True, eq=False):
    """Why a policy refuses a request: it could not be configured or evaluated."""

    policy: Policy[Any]
    binding: Binding | None
    text: str
    reason: str = ""

    def __str__(self) -> str:
        if self.binding is None:
            return f"policy {quoted(self.policy.name)} denied request: {self.text}"
        return (
            f"policy '{self.policy.name}' with binding '{self.binding.name}' "
            f"denied request: {self.text}"
        )


class DeniedByPolicy(Forbidden):
    """Policies refuse a request; code and reason may differ, as upstream."""


class MutatingPolicies(JudgesConnections):
    """Has policies change the object."""

    name: ClassVar = "MutatingAdmissionPolicy"

    def __init__(
        self,
        lookup: Lookup,
        mirroring: Mirroring,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        offload: Offload,
    ) -> None:
        self._lookup = lookup
        self._resources = resources
        self._authorizer = authorizer
        self._offload = offload
        self._params = Params(mirroring, resources)
        self._definitions: Definitions[
            MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, Mutations
        ] = Definitions(
            lookup,
            resources,
            self._params,
            (MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding),
            _compile,
            offload,
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        """Have policies change the object; raises Forbidden where one fails, NotFound and InternalError."""
        if request.operation is Verb.DELETE or is_exempt(request):
            return
        policies = await self._definitions.policies()
        if not policies:
            return
        denials: list[Denial] = []
        found = self._invocations(policies, request, denials)
        if found:
            await self._invoke(found, request, denials)
        refused = [denial for denial in denials if not denial.policy.is_ignored]
        if refused:
            raise _refusal(request, refused)

    async def _invoke(
        self, found: "Sequence[Invocation]", request: AdmissionRequest, denials: list[Denial]
    ) -> None:
        # Imported here since it brings in expressions, which a server without policies does without.
        from kubelite.api.registry.admission.policies.mutations import (
            InvocationFailed,
            Round,
        )

        round_ = Round(request, self._lookup, self._resources, self._authorizer, self._offload)
        invocations = request.repetition.of(self.name)
        invocations.begin(encode(request.object))
        for one in found:
            try:
                await round_.invoke(one, invocations)
            except InvocationFailed as error:
                denials += [Denial(one.policy, one.binding, text, INVALID) for text in error.texts]
        invocations.end(encode(request.object))

    def _invocations(
        self,
        policies: "Iterable[Policy[Mutations]]",
        request: AdmissionRequest,
        denials: list[Denial],
    ) -> "list[Invocation]":
        """Return what concerns a request; adds a denial for each policy and binding of which that cannot be told."""
        invocations: list[Invocation] = []
        for policy in policies:
            try:
                found = self._matched(policy, request)
                if found is None:
                    continue
                self._params.find(policy.param_kind, None, "")  # the kind must be served
            except (NotFound, NotConfigured) as error:
                denials.append(Denial(policy, None, f"failed to configure policy: {error}"))
                continue
            for binding in policy.bindings:
                try:
                    invocations += self._bound(policy, binding, request, found)
                except (NotFound, NotConfigured) as error:
                    text = f"failed to configure binding: {error}"
                    denials.append(Denial(policy, binding, text))
        return invocations

    def _matched(self, policy: "Policy[Mutations]", request: AdmissionRequest) -> Found | None:
        constraints = policy.constraints
        if constraints is None:
            return None
        return constraints.match(request, self._lookup, self._resources)

    def _bound(
        self,
        policy: "Policy[Mutations]",
        binding: Binding,
        request: AdmissionRequest,
        found: Found,
    ) -> "list[Invocation]":
        from kubelite.api.registry.admission.policies.environment import (
            meant_by,
        )
        from kubelite.api.registry.admission.policies.mutations import (
            Invocation,
        )

        narrowed = binding.constraints
        if narrowed is not None and not narrowed.match(request, self._lookup, self._resources):
            return []
        namespace = request.attributes.namespace
        params = self._params.find(policy.param_kind, binding.reference, namespace)
        meant = meant_by(found, request, self._resources)
        return [Invocation(policy, binding, one, meant) for one in params]


def _compile(policy: MutatingAdmissionPolicy) -> "Mutations":
    from kubelite.api.registry.admission.policies.mutations import (
        mutations_of,
    )

    return mutations_of(policy)


def _refusal(request: AdmissionRequest, denials: Sequence[Denial]) -> DeniedByPolicy:
    """Return the error that names all denials; its message and reason are those of the first."""
    about = forbidden(request, "")
    error = DeniedByPolicy(
        str(denials[0]),
        group=about.group,
        kind=about.kind,
        name=about.name,
        causes=[Cause("", "", str(denial)) for denial in denials],
    )
    error.reason = denials[0].reason or error.reason
    return error
