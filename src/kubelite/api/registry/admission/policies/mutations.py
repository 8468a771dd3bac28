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
from kubelite.api.errors import BadRequest
from kubelite.api.kinds.admissionregistration import MutatingAdmissionPolicy
from kubelite.api.machinery.admission_expressions import CONDITION, Compiled, Composition
from kubelite.api.machinery.mutation_types import (
    JSON_PATCH,
    compiled_mutation,
    mutation_environment,
)
from kubelite.api.machinery.shaping.shape import Shape
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
from kubelite.api.registry.admission.replacing import internal_error, put_back, take_out
from kubelite.api.registry.admission.request import AdmissionRequest, Invocations
from kubelite.api.registry.admission.review import Meant
from kubelite.api.registry.objects import encode
from kubelite.api.registry.table import ResourceTable
from kubelite.cel.libraries.jsonpatch import JSONPatch
from kubelite.cel.values import EvaluationFailed, Value
from kubelite.limits import EXPRESSIONS_ON_LOOP
from kubelite.offload import Offload

JSON = dict[str, Any]
_PASSES: Final = 6  # over an object that is copied, patched and encoded, in bytes of cost a byte
_VALUE_BYTES: Final = 64  # of cost for each value that an expression made


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
    ) -> None:
        """Raises NotFound if the namespace of the request is unknown."""
        self._request = request
        self._resources = resources
        self._offload = offload
        self._versions = Versions(request, resources)
        self._decisions = Decisions(authorizer, request)
        self._namespace = namespace_of(request, lookup)
        size = size_of_objects(request.object, request.old, most=EXPRESSIONS_ON_LOOP.value)
        self._evaluator = Evaluator(offload, self._decisions, size=size)

    async def invoke(
        self, invocation: Invocation[Mutations], params: JSON | None, invocations: Invocations
    ) -> None:
        """Have a policy change the object; raises InvocationFailed, and errors of the API that no policy ignores."""
        key, evaluator = key_of(invocation, params), invocation.policy.evaluator
        item, kept = await self._copy(invocation.meant)
        asking = _Asking(invocation, await self._inputs(invocation.meant, params))
        if not await self._applies(asking, item) or not invocations.includes(key):
            return
        failed: list[str] = []
        before = after = item
        for mutation in evaluator.mutations:
            if after is None:  # a connection to be made has no object
                break
            try:
                after = await self._mutated(asking, mutation, after)
            except (PatchFailed, OutOfBudget) as error:
                failed.append(str(error))
        if after is not before and await self._run(after, lambda: encode(after) != encode(before)):
            assert after is not None
            await put_back(self._request, self._row(invocation.meant), after, kept)
            invocations.changed()
        if evaluator.is_reinvocable:
            invocations.wants_again(key)
        if failed:
            raise InvocationFailed(*failed)

    async def _inputs(self, meant: Meant, params: JSON | None) -> Inputs:
        objects = (None, await self._versions.shown(meant, self._request.old))
        inputs = inputs_of(self._request, meant, objects, self._namespace, self._decisions)
        return inputs.with_params(params)

    async def _copy(self, meant: Meant) -> tuple[JSON | None, JSON]:
        """Return a copy of the object in the form that a policy wants, and what was taken out of it."""
        shown = await self._versions.shown(meant, self._request.object)
        if shown is None:
            return None, {}
        copy: JSON = await self._run(shown, partial(_copied, shown))
        return copy, take_out(copy, self._request)

    async def _run(self, item: JSON | None, work: Any, *made: Value) -> Any:
        """Run work on an object and on values that expressions made."""
        size = size_of_objects(item, *made, most=EXPRESSIONS_ON_LOOP.value)
        return await self._offload.run(size * _VALUE_BYTES * _PASSES, work)

    async def _applies(self, asking: "_Asking", item: JSON | None) -> bool:
        policy, inputs = asking.invocation.policy, asking.inputs.with_object(item)
        if not policy.evaluator.conditions:
            return True

        def evaluate(meter: Meter) -> bool:
            return conditions_hold(
                meter,
                inputs,
                policy.evaluator.variables,
                policy.evaluator.conditions,
                is_ignored=policy.is_ignored,
            )

        try:
            return await self._evaluator.run(evaluate)
        except ConditionsFailed as error:
            raise InvocationFailed(str(error)) from error

    async def _mutated(self, asking: "_Asking", mutation: Mutation, item: JSON) -> JSON:
        """Return the object after a mutation; raises PatchFailed and OutOfBudget."""
        if mutation.expression.program is None:
            raise PatchFailed(mutation.expression.error)
        inputs = asking.inputs.with_object(item)
        variables = asking.invocation.policy.evaluator.variables

        def evaluate(meter: Meter) -> Value:
            return Phase(meter, inputs, variables, POLICY_COST).evaluate(mutation.expression)

        value = await self._evaluator.run(evaluate)
        if isinstance(value, EvaluationFailed):
            raise PatchFailed(value.text)
        shape = self._shape(asking.invocation.meant)
        work = partial(_patched, shape, item, value, mutation, is_strict=self._is_strict)
        made = value
        if isinstance(value, list):
            made = [one.fields for one in value if isinstance(one, JSONPatch)]
        patched: JSON = await self._run(item, work, made)
        return patched

    @property
    def _is_strict(self) -> bool:
        """Whether a patch may add no unknown field: those of custom resources are pruned."""
        return self._request.form is not None or self._request.resource.type is not None

    def _row(self, meant: Meant) -> Any:
        return self._resources.find(*meant.resource) or self._request.served

    def _shape(self, meant: Meant) -> Shape:
        if self._request.form is not None:
            return self._request.form
        row = self._row(meant)
        subresource = row.subresources.get(self._request.attributes.subresource)
        if subresource is not None and subresource.projection is not None:
            projected: Shape = subresource.projection.shape
            return projected
        shape: Shape = row.shape
        return shape


class _Asking(Struct, frozen=True, eq=False):
    """An invocation with one params object, and what its expressions see apart from the object."""

    invocation: Invocation[Mutations]
    inputs: Inputs


def _patched(
    shape: Shape, item: JSON, value: Value, mutation: Mutation, *, is_strict: bool
) -> JSON:
    """Return an object with the value of a mutation applied and its defaults set; `item` does not change."""
    if not mutation.is_json_patch:
        changed = _copied(applied(shape.schema, item, value))
        _complete(shape, changed)
        return changed
    patched = json_patched(_copied(item), value)
    if patched is None:  # a test compared unequal
        return item
    changed = _copied(patched)
    _complete(shape, changed, is_strict=is_strict)
    return changed


def _copied(item: JSON) -> JSON:
    """Return a copy, of which no part belongs to what expressions see."""
    copy: JSON = msgspec.json.decode(encode(item))
    return copy


def _complete(shape: Shape, item: JSON, *, is_strict: bool = False) -> None:
    """Give a patched object its form; raises InternalError for what has the wrong type, and for unknown fields."""
    unknown: Sequence[str] = ()
    try:
        if is_strict:
            unknown = shape.receive(item)
        else:
            shape.complete(item)
    except BadRequest as error:
        raise internal_error(error.message[max(error.message.find("json: "), 0) :]) from error
    if unknown:
        fields = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise internal_error(f"strict decoding error: {fields}")
