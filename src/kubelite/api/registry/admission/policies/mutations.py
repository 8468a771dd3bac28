"""Has the mutations of policies change the object of a request, one policy, binding and params object after the other.

Each mutation sees what those before it made. What a policy does to the object in another version is converted back
before the next policy is asked. Import it once there is a policy: it brings in the whole of `kubelite.cel`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import BadRequest, RequestEntityTooLarge, internal_error
from kubelite.api.kinds.admissionregistration import MutatingAdmissionPolicy
from kubelite.api.machinery.admission_expressions import CONDITION, Compiled, Composition
from kubelite.api.machinery.mutation_types import (
    JSON_PATCH,
    compiled_mutation,
    mutation_environment,
)
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.admission.admission_metrics import (
    POLICY,
    VALIDATE,
    mutated,
    now,
    observe_conditions,
)
from kubelite.api.registry.admission.policies.environment import (
    Decisions,
    Inputs,
    Versions,
    inputs_of,
    namespace_of,
)
from kubelite.api.registry.admission.policies.evaluation import (
    POLICY_COST,
    ConditionsFailed,
    Evaluator,
    Meter,
    OutOfBudget,
    Phase,
    conditions_hold,
    size_of_objects,
)
from kubelite.api.registry.admission.policies.invocations import Invocation
from kubelite.api.registry.admission.policies.patches import PatchFailed, applied, json_patched
from kubelite.api.registry.admission.replacing import (
    complete,
    misshapen,
    put_back,
    shape_of,
    take_out,
)
from kubelite.api.registry.admission.request import AdmissionRequest, Invocations
from kubelite.api.registry.admission.review import Meant
from kubelite.api.registry.objects import encode
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable
from kubelite.cel.libraries.jsonpatch import JSONPatch
from kubelite.cel.values import EvaluationFailed, Value
from kubelite.limits import EXPRESSIONS_ON_LOOP, REQUEST_BODY
from kubelite.offload import Offload

JSON = dict[str, Any]
_PASSES: Final = 4  # over an object that is copied, patched, completed and encoded
_VIEW_PASSES: Final = 3  # over one that is copied and encoded
_VALUE_COST: Final = 20  # of a value that an expression made, in bytes
_DENSITY: Final = 8  # bytes of an encoded object that count as one value


class Mutation(Struct, frozen=True, eq=False):
    """A compiled mutation."""

    is_json_patch: bool
    expression: Compiled


class Mutations(Struct, frozen=True, eq=False):
    """What a policy is compiled to."""

    variables: Mapping[str, Compiled]
    conditions: Sequence[Compiled]
    mutations: Sequence[Mutation]
    is_reinvocable: bool


class InvocationFailed(Exception):
    """A policy could not be evaluated or its change not be made; the texts are worded as upstream."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.texts = texts


def key_of(invocation: Invocation[Mutations], params: JSON | None) -> str:
    """Return what tells an invocation with one params object from all others of a request."""
    metadata = (params or {}).get("metadata") or {}
    namespace, name = (metadata.get(each) or "" for each in ("namespace", "name"))
    return f"{invocation.policy.name}/{invocation.binding.name}/{namespace}/{name}"


def mutations_of(policy: MutatingAdmissionPolicy) -> Mutations:
    """Compile a policy; what does not compile fails when it is evaluated."""
    spec = policy.spec
    composition = Composition(has_params=spec.paramKind is not None)
    composition.add_variables((one.name, one.expression) for one in spec.variables)
    surroundings = mutation_environment(composition)
    mutations = []
    for one in spec.mutations:
        found = one.jsonPatch if one.patchType == JSON_PATCH else one.applyConfiguration
        if found is not None:  # no policy may be stored without
            compiled = compiled_mutation(surroundings, one.patchType, found.expression)
            mutations.append(Mutation(one.patchType == JSON_PATCH, compiled))
    return Mutations(
        composition.variables,
        [composition.compile(one.expression, CONDITION) for one in spec.matchConditions],
        mutations,
        spec.reinvocationPolicy == "IfNeeded",
    )


class Round:
    """One round of a request through the policies."""

    def __init__(
        self,
        request: AdmissionRequest,
        lookup: Lookup,
        resources: ResourceTable,
        authorizer: UnionAuthorizer,
        offload: Offload,
        output: bytes,
    ) -> None:
        """`output` is the object, encoded. Raises NotFound if the namespace of the request is unknown."""
        self._request = request
        self._resources = resources
        self._offload = offload
        self._versions = Versions(request, resources, offload)
        self._decisions = Decisions(authorizer, request)
        self._namespace = namespace_of(request, lookup)
        self._output = output
        self.is_changed = False
        size = (len(output) + len(encode(request.old))) // _DENSITY
        self._evaluator = Evaluator(offload, self._decisions, size=size)
        self._views: dict[tuple[str, str, str], _View] = {}  # until the object changes
        self._old: dict[tuple[str, str, str], JSON | None] = {}

    async def invoke(
        self, invocation: Invocation[Mutations], params: JSON | None, invocations: Invocations
    ) -> None:
        """Have a policy change the object; raises InvocationFailed, and errors of the API that no policy ignores."""
        key, evaluator = key_of(invocation, params), invocation.policy.evaluator
        is_included = invocations.includes(key)
        if not is_included and not evaluator.conditions:  # conditions that fail refuse in any round
            return
        view = await self._view(invocation.meant)
        asking = _Asking(invocation, await self._inputs(invocation.meant, params))
        if not await self._applies(asking, view.item) or not is_included:
            return
        failed: list[str] = []
        after, text = view.item, view.encoded
        for mutation in evaluator.mutations:
            if after is None:  # a connection to be made has no object
                break
            began, problem = now(), ""
            try:
                after, text = await self._mutated(asking, mutation, after, len(text))
            except (PatchFailed, OutOfBudget) as error:
                problem = str(error)
                failed.append(problem)
            policy, binding = invocation.policy.name, invocation.binding.name
            mutated(policy, binding, problem, now() - began)
        if after is not None and text != view.encoded:
            row = self._row(invocation.meant)
            await put_back(self._request, row, after, view.kept, self._offload, size=None)
            self._views.clear()
            self.is_changed = True
            invocations.changed()
        if evaluator.is_reinvocable:
            invocations.wants_again(key)
        if failed:
            raise InvocationFailed(*failed)

    async def _view(self, meant: Meant) -> "_View":
        """Return a copy of the object in the form that a policy wants."""
        view = self._views.get(meant.resource)
        if view is None:
            shown = await self._versions.shown(meant, self._request.object)
            cost = len(self._output) * _VIEW_PASSES
            view = await self._offload.run(cost, partial(_viewed, self._request, shown))
            self._views[meant.resource] = view
        return view

    async def _inputs(self, meant: Meant, params: JSON | None) -> Inputs:
        if meant.resource not in self._old:
            self._old[meant.resource] = await self._versions.shown(meant, self._request.old)
        objects = (None, self._old[meant.resource])
        inputs = inputs_of(self._request, meant, objects, self._namespace, self._decisions)
        return inputs.with_params(params)

    async def _applies(self, asking: "_Asking", item: JSON | None) -> bool:
        policy, inputs = asking.invocation.policy, asking.inputs.with_object(item)
        if not policy.evaluator.conditions:
            return True

        failed: list[str] = []

        def evaluate(meter: Meter) -> bool:
            return conditions_hold(
                meter,
                inputs,
                policy.evaluator.variables,
                policy.evaluator.conditions,
                is_ignored=policy.is_ignored,
                failed=failed,
            )

        try:
            return await self._evaluator.run(evaluate)
        except ConditionsFailed as error:
            raise InvocationFailed(str(error)) from error
        finally:
            operation = self._request.operation.value
            observe_conditions(policy.name, POLICY, VALIDATE, operation, errors=len(failed))

    async def _mutated(
        self, asking: "_Asking", mutation: Mutation, item: JSON, item_bytes: int
    ) -> tuple[JSON, bytes]:
        """Return the object after a mutation, and the same encoded; raises PatchFailed and OutOfBudget."""
        if mutation.expression.program is None:
            raise PatchFailed(mutation.expression.error)
        inputs = asking.inputs.with_object(item)
        variables = asking.invocation.policy.evaluator.variables

        def evaluate(meter: Meter) -> Value:
            return Phase(meter, inputs, variables, POLICY_COST).evaluate(mutation.expression)

        value = await self._evaluator.run(evaluate)
        if isinstance(value, EvaluationFailed):
            raise PatchFailed(value.text)
        shape = shape_of(self._request, self._row(asking.invocation.meant))
        work = partial(_patched, shape, item, value, mutation, is_strict=self._is_strict)
        made = value
        if isinstance(value, list):
            made = [one.fields for one in value if isinstance(one, JSONPatch)]
        cost = item_bytes * _PASSES
        cost += size_of_objects(made, most=EXPRESSIONS_ON_LOOP.value) * _VALUE_COST
        try:
            return await self._offload.run(cost, work)
        except RequestEntityTooLarge as error:  # the fault of the policy, which may be ignored
            raise PatchFailed(error.message) from error

    @property
    def _is_strict(self) -> bool:
        """Whether a patch may add no unknown field: those of custom resources are pruned."""
        return self._request.form is not None or self._request.resource.type is not None

    def _row(self, meant: Meant) -> Resource:
        return self._resources.find(*meant.resource) or self._request.served


class _View(Struct, frozen=True, eq=False):
    """The object as a policy sees it; nothing in it changes."""

    item: JSON | None
    kept: JSON  # what was taken out of it
    encoded: bytes


def _viewed(request: AdmissionRequest, shown: JSON | None) -> _View:
    text = encode(shown)
    item = msgspec.json.decode(text)
    kept = take_out(item, request)
    return _View(item, kept, encode(item) if kept else text)


class _Asking(Struct, frozen=True, eq=False):
    """An invocation with one params object, and what its expressions see apart from the object."""

    invocation: Invocation[Mutations]
    inputs: Inputs


def _patched(
    shape: Shape, item: JSON, value: Value, mutation: Mutation, *, is_strict: bool
) -> tuple[JSON, bytes]:
    """Return an object with the value of a mutation applied and its defaults set, and the same encoded.

    `item` does not change. Raises RequestEntityTooLarge for what is larger than any body.
    """
    patched: JSON | None
    if mutation.is_json_patch:
        patched = json_patched(msgspec.json.decode(encode(item)), value)
        if patched is None:  # a test compared unequal
            return item, encode(item)
    else:
        patched = applied(shape.schema, item, value)
    # A copy, since no part of it may be one of what expressions see.
    changed: JSON = msgspec.json.decode(_within_bounds(encode(patched)))
    (_complete_strictly if is_strict and mutation.is_json_patch else complete)(shape, changed)
    return changed, _within_bounds(encode(changed))


def _within_bounds(text: bytes) -> bytes:
    if len(text) > REQUEST_BODY.value:
        REQUEST_BODY.reached()
        raise RequestEntityTooLarge(f"Request entity too large: limit is {REQUEST_BODY.value}")
    return text


def _complete_strictly(shape: Shape, item: JSON) -> None:
    """Give a patched object its form; raises InternalError as `complete`, and for unknown fields."""
    try:
        unknown = shape.receive(item)
    except BadRequest as error:
        raise misshapen(error) from error
    if unknown:
        fields = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise internal_error(f"strict decoding error: {fields}")
