"""The policies in effect: those that a binding names, each compiled once per generation.

Mirrors hold a policy, binding or params object as soon as its writer has an answer, so it is in effect from then on. A
policy without bindings is not even compiled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.admissionregistration import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    ParamKind,
    ParamRef,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from kubelite.api.registry.admission.policies.constraints import Constraints, constraints_of
from kubelite.api.registry.admission.policies.params import Params
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

COMPILING_COST = 8  # per character of a policy, in bytes of cost: about 2 µs
P = TypeVar("P", ValidatingAdmissionPolicy, MutatingAdmissionPolicy)
B = TypeVar("B", ValidatingAdmissionPolicyBinding, MutatingAdmissionPolicyBinding)
E = TypeVar("E")


class Binding(Struct, frozen=True, eq=False):
    """A binding of a policy in effect."""

    name: str
    constraints: Constraints | None  # None: all that the policy is about
    reference: ParamRef | None
    actions: Sequence[str] = ()


class Policy(Struct, Generic[E], frozen=True, eq=False):
    """A policy in effect; `evaluator` is what the plugin compiled of it."""

    name: str
    constraints: Constraints | None  # None: it has none, which no policy may be stored without
    param_kind: ParamKind | None
    is_ignored: bool  # its failure is
    bindings: Sequence[Binding]
    evaluator: E


class Definitions(Generic[P, B, E]):
    """Finds policies with their bindings, in the order of their names."""

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        params: Params,
        kinds: tuple[type[P], type[B]],
        compile_: Callable[[P], E],
        offload: Offload,
    ) -> None:
        """`compile_` is pure: long policies are compiled off the loop."""
        self._lookup = lookup
        self._params = params
        self._policy: type[P] = kinds[0]
        self._binding: type[B] = kinds[1]
        self._compile: Callable[[P], E] = compile_
        self._offload = offload
        self._compiled: dict[str, tuple[tuple[str, int], E]] = {}
        self._policies: Sequence[Policy[E]] | None = None
        self._changes = 0
        for kind in kinds:
            lookup.subscribe(kind, self._changed)
        resources.subscribe(self._changed)

    def _changed(self, *_: Any) -> None:
        self._policies = None
        self._changes += 1

    async def policies(self) -> Sequence[Policy[E]]:
        """Return the policies in effect; waits only where a long one has to be compiled."""
        while (found := self._policies) is None:
            changes = self._changes
            bindings: dict[str, list[B]] = {}
            for binding in self._lookup.list(self._binding):
                bindings.setdefault(binding.spec.policyName, []).append(binding)
            await self._compile_all(bindings)
            if changes == self._changes:  # else something changed meanwhile
                self._policies = self._found(bindings)
        return found

    async def _compile_all(self, names: Iterable[str]) -> None:
        """Compile the policies of these names that have changed."""
        for name in names:
            policy = self._lookup.get(self._policy, name)
            known = self._compiled.get(name)
            if policy is not None and (known is None or known[0] != _version(policy)):
                cost = len(msgspec.json.encode(policy.spec)) * COMPILING_COST
                evaluator = await self._offload.run(cost, partial(self._compile, policy))
                self._compiled[name] = (_version(policy), evaluator)

    def _found(self, bindings: Mapping[str, Sequence[B]]) -> Sequence[Policy[E]]:
        """Return the policies in effect, which are compiled."""
        found: list[Policy[E]] = []
        for name, bound in sorted(bindings.items()):
            policy = self._lookup.get(self._policy, name)
            if policy is not None:  # else it comes later, or has gone before
                found.append(_policy(policy, bound, self._compiled[name][1]))
        self._compiled = {one.name: self._compiled[one.name] for one in found}
        self._params.keep(one.param_kind for one in found if one.param_kind is not None)
        return found


def _version(policy: Any) -> tuple[str, int]:
    return policy.metadata.uid, policy.metadata.generation


def _policy(policy: Any, bindings: Sequence[Any], evaluator: E) -> Policy[E]:
    spec = policy.spec
    return Policy(
        policy.metadata.name,
        constraints_of(spec.matchConstraints),
        spec.paramKind,
        spec.failurePolicy == "Ignore",
        [_bound(one) for one in sorted(bindings, key=lambda one: str(one.metadata.name))],
        evaluator,
    )


def _bound(binding: Any) -> Binding:
    spec = binding.spec
    return Binding(
        binding.metadata.name,
        constraints_of(spec.matchResources),
        spec.paramRef,
        getattr(spec, "validationActions", ()),
    )
