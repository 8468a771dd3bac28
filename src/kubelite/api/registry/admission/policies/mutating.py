"""Has MutatingAdmissionPolicies change what is written.

Policies run in the order of their names, each once for each of its bindings and params objects that concern a request.
Where one cannot be evaluated the request is refused, unless its failurePolicy says otherwise.
"""

import asyncio
from collections.abc import Sequence

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import Cause, Forbidden
from kubelite.api.kinds.admissionregistration import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
)
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.admission.policies.constraints import is_exempt
from kubelite.api.registry.admission.policies.definitions import Definitions
from kubelite.api.registry.admission.policies.invocations import Finder, Invocation, Problem
from kubelite.api.registry.admission.policies.mutations import (
    InvocationFailed,
    Mutations,
    Round,
    mutations_of,
)
from kubelite.api.registry.admission.policies.params import Mirroring, Params
from kubelite.api.registry.admission.refusal import object_name
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.objects import encode
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

PLUGIN = "MutatingAdmissionPolicy"
INVALID = "Invalid"
Found = Invocation[Mutations] | Problem[Mutations]


class Mutating:
    """Has the policies in effect change objects."""

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        mirroring: Mirroring,
        offload: Offload,
    ) -> None:
        params = Params(mirroring, resources)
        kinds = (MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding)
        self.definitions = Definitions(lookup, resources, params, kinds, mutations_of, offload)
        self._finder = Finder(lookup, resources, params)
        self._lookup = lookup
        self._resources = resources
        self._authorizer = authorizer
        self._offload = offload

    async def mutate(self, request: AdmissionRequest) -> None:
        """Have policies change the object.

        Raises Forbidden where one fails; whatever failurePolicy says, NotFound for an unknown namespace, and
        InternalError for a patch that leaves no object of the kind.
        """
        if request.operation is Verb.DELETE or is_exempt(request):
            return
        policies = await self.definitions.policies()
        found = list(self._finder.find(policies, request))
        if found:
            problems = await self._invoke(found, request)
            refused = [problem for problem in problems if not problem[0].policy.is_ignored]
            if refused:
                raise _refusal(request, refused)

    async def _invoke(
        self, found: Sequence[Found], request: AdmissionRequest
    ) -> list[tuple[Problem[Mutations], str]]:
        """Invoke what was found; return what failed, with its reason."""
        failed = [(one, "") for one in found if isinstance(one, Problem)]
        invoked = [one for one in found if isinstance(one, Invocation)]
        if not invoked:
            return failed
        output = encode(request.object)
        parts = (self._lookup, self._resources, self._authorizer, self._offload)
        round_ = Round(request, *parts, output)
        invocations = request.repetition.of(PLUGIN)
        invocations.begin(output)
        asked = [(one, params) for one in invoked for params in one.params]
        for number, (one, params) in enumerate(asked):
            if number:  # whoever may create params may create any number of them
                await asyncio.sleep(0)
            try:
                await round_.invoke(one, params, invocations)
            except InvocationFailed as error:
                failed += [
                    (Problem(one.policy, one.binding, text), INVALID) for text in error.texts
                ]
        invocations.end(encode(request.object) if round_.is_changed else output)
        return failed


def _refusal(
    request: AdmissionRequest, problems: Sequence[tuple[Problem[Mutations], str]]
) -> Forbidden:
    """Return the error that names all problems; its message and reason are those of the first, as upstream."""
    texts = [_denial(problem) for problem, _ in problems]
    error = Forbidden(
        texts[0],
        group=request.resource.group,
        kind=request.resource.plural,
        name=object_name(request),
        causes=[Cause("", "", text) for text in texts],
    )
    error.reason = problems[0][1] or error.reason
    return error


def _denial(problem: Problem[Mutations]) -> str:
    name = problem.policy.name
    if problem.binding is None:
        return f"policy {quoted(name)} denied request: {problem.text}"
    return f"policy '{name}' with binding '{problem.binding.name}' denied request: {problem.text}"
