"""Has ValidatingAdmissionPolicies refuse requests, warn about them, or leave a note in the audit log."""

from collections.abc import Callable

import msgspec

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import APIError, Cause
from kubelite.api.kinds.admissionregistration import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from kubelite.api.registry.admission.admission_metrics import (
    ALLOW,
    DENY,
    POLICY,
    VALIDATE,
    now,
    observe_conditions,
    validated,
)
from kubelite.api.registry.admission.policies.compiled import (
    INVALID,
    Denial,
    Judgement,
    Validator,
    compile_policy,
)
from kubelite.api.registry.admission.policies.constraints import is_exempt
from kubelite.api.registry.admission.policies.definitions import Binding, Definitions, Policy
from kubelite.api.registry.admission.policies.environment import (
    Decisions,
    Inputs,
    Versions,
    inputs_of,
    namespace_of,
)
from kubelite.api.registry.admission.policies.evaluation import Evaluator, size_of_request
from kubelite.api.registry.admission.policies.invocations import Finder, Invocation, Problem
from kubelite.api.registry.admission.policies.params import Mirroring, Params
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413}
Judged = Policy[Validator]


class Validating:
    """Asks the policies in effect."""

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        mirroring: Mirroring,
        offload: Offload,
    ) -> None:
        params = Params(mirroring, resources)
        kinds = (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)
        self.definitions = Definitions(lookup, resources, params, kinds, compile_policy, offload)
        self._finder = Finder(lookup, resources, params)
        self._lookup = lookup
        self._resources = resources
        self._authorizer = authorizer
        self._offload = offload

    async def validate(self, request: AdmissionRequest) -> None:
        """Ask the policies that a request concerns; raises the first denial, and NotFound without a namespace."""
        if is_exempt(request):
            return
        policies = await self.definitions.policies()
        concerned = list(self._finder.find(policies, request))
        if concerned:
            asking = _Asking(request, self._lookup, self._resources, self._offload)
            evaluator = _Evaluation(asking, self._authorizer, self._offload)
            await evaluator.run(concerned)


class _Evaluation:
    """One request before its policies."""

    def __init__(self, asking: "_Asking", authorizer: UnionAuthorizer, offload: Offload) -> None:
        self._asking = asking
        self._request = asking.request
        self._decisions = Decisions(authorizer, asking.request)
        size = size_of_request(asking.request)
        self._evaluator = Evaluator(offload, self._decisions, size=size)
        self._denied: APIError | None = None
        self._annotations: dict[str, dict[str, None]] = {}

    async def run(self, concerned: list[Invocation[Validator] | Problem[Validator]]) -> None:
        """Ask all policies, then raise the first denial."""
        for one in concerned:
            if isinstance(one, Problem):
                self._fail(one)
                continue
            inputs = await self._inputs(one)
            if inputs is None:
                continue
            for params in one.params:
                began = now()
                judgement = await self._evaluator.run(
                    _judging(one.policy.evaluator, inputs.with_params(params))
                )
                self._act(one.policy, one.binding, judgement)
                self._observe(one.policy, one.binding, judgement, now() - began)
        for name, values in self._annotations.items():
            self._request.annotate(name, ", ".join(values))
        if self._denied is not None:
            raise self._denied

    async def _inputs(self, one: Invocation[Validator]) -> Inputs | None:
        try:
            return await self._asking.inputs(one, self._decisions)
        except APIError as error:
            text = f"failed to convert object version: {error.message}"
            self._fail(Problem(one.policy, one.binding, f"failed to configure binding: {text}"))
            return None

    def _fail(self, problem: Problem[Validator]) -> None:
        if not problem.policy.is_ignored:
            self._deny(problem.policy, problem.binding, problem.text)

    def _act(self, policy: Judged, binding: Binding, judgement: Judgement) -> None:
        for denial in judgement.denials:
            for action in binding.actions:
                if action == "Deny":
                    self._deny(policy, binding, denial.message, denial.reason)
                elif action == "Audit":
                    self._request.annotate(FAILURE_ANNOTATION, _failure(policy, binding, denial))
                elif action == "Warn":
                    self._request.add_warning(
                        f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding "
                        f"'{binding.name}': {denial.message}"
                    )
        for key, value in judgement.annotations:
            self._annotations.setdefault(f"{policy.name}/{key}", {})[value] = None
        for text in judgement.failures:
            self._deny(policy, binding, text)

    def _observe(
        self, policy: Judged, binding: Binding, judgement: Judgement, seconds: float
    ) -> None:
        """Count what did not hold, or had no value."""
        led_to = [
            (denial.message, action.lower())
            for denial in judgement.denials
            for action in binding.actions
        ]
        led_to += [(text, ALLOW) for text in judgement.ignored]
        led_to += [(text, DENY) for text in judgement.failures]
        for message, action in led_to:
            validated(policy.name, binding.name, message, action, seconds)
        if errors := judgement.condition_errors:
            operation = self._request.operation.value
            observe_conditions(policy.name, POLICY, VALIDATE, operation, errors=errors)

    def _deny(
        self, policy: Judged, binding: Binding | None, text: str, reason: str = INVALID
    ) -> None:
        if self._denied is not None:
            return
        bound = "" if binding is None else f" with binding '{binding.name}'"
        message = f"ValidatingAdmissionPolicy '{policy.name}'{bound} denied request: {text}"
        error = forbidden(self._request, message, [Cause("", "", message)])
        error.reason = reason
        error.code = _CODES.get(reason, 422)
        self._denied = error


def _judging(validator: Validator, inputs: Inputs) -> Callable[..., Judgement]:
    return lambda meter: validator.judge(meter, inputs)


def _failure(policy: Judged, binding: Binding, denial: Denial) -> str:
    """Return the note of a failed validation as upstream writes it."""
    found = {
        "message": denial.message,
        "policy": policy.name,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": list(binding.actions),
    }
    return msgspec.json.encode([found]).decode()


class _Asking:
    """What expressions see of a request, made when the first policy needs it."""

    def __init__(
        self,
        request: AdmissionRequest,
        lookup: Lookup,
        resources: ResourceTable,
        offload: Offload,
    ) -> None:
        self.request = request
        self._namespace = namespace_of(request, lookup)
        self._versions = Versions(request, resources, offload)
        self._known: dict[tuple[str, str, str], Inputs] = {}

    async def inputs(self, one: Invocation[Validator], decisions: Decisions) -> Inputs:
        """Return the inputs in the version as which a policy means the request; raises what a conversion raises."""
        known = self._known.get(one.meant.resource)
        if known is None:
            objects = await self._versions.objects(one.meant)
            known = inputs_of(self.request, one.meant, objects, self._namespace, decisions)
            self._known[one.meant.resource] = known
        return known
