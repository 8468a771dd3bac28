"""Rules of mutating admission policies and their bindings: their mutations, and which requests they may be about."""

from typing import Final

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes
from kubelite.api.registry.rules.admission_policies import (
    Expressions,
    common,
    policy_binding,
)
from kubelite.api.registry.rules.values import JSON, Out, items, one_of, part

OPERATIONS: Final = ("*", "CONNECT", "CREATE", "UPDATE")  # a deletion has no object to change
_PATCHES: Final = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def mutating_policy(thing: JSON, old: JSON | None = None) -> Out:
    """Check a MutatingAdmissionPolicy; `old` is what it replaces."""
    out = Out()
    spec = part(thing, "spec")
    expressions = Expressions(out, spec)
    common(out, spec, expressions, None if old is None else part(old, "spec"))
    _operations(out, "spec.matchConstraints", part(spec, "matchConstraints"))
    mutations = items(spec, "mutations")
    if not mutations:
        out.append(causes.required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(mutations):
        _mutation(out, f"spec.mutations[{index}]", mutation, expressions)
    one_of(
        out,
        "spec.reinvocationPolicy",
        spec.get("reinvocationPolicy"),
        enums.REINVOCATION_POLICIES.enum,
    )
    return out


def mutating_policy_update(thing: JSON, old: JSON) -> Out:
    """Check a changed MutatingAdmissionPolicy."""
    return mutating_policy(thing, old)


def mutating_binding(thing: JSON) -> Out:
    """Check a MutatingAdmissionPolicyBinding."""
    out = policy_binding(thing)
    _operations(out, "spec.matchResources", part(part(thing, "spec"), "matchResources"))
    return out


def _operations(out: Out, path: str, match: JSON) -> None:
    for rule in items(match, "resourceRules"):
        for operation in items(rule, "operations"):
            one_of(out, f"{path}.resourceRules.operations", operation, OPERATIONS)


def _mutation(out: Out, path: str, mutation: JSON, expressions: Expressions) -> None:
    patch_type = mutation.get("patchType")
    one_of(out, f"{path}.patchType", patch_type, tuple(_PATCHES))
    if patch_type not in _PATCHES:
        return
    for other, field in _PATCHES.items():
        found = mutation.get(field)
        if other != patch_type:
            if found is not None:
                detail = f"must not be specified when patchType is {patch_type}"
                out.append(causes.invalid(f"{path}.{field}", f"{{{field}}}", detail))
        elif found is None:
            detail = f"must be specified when patchType is {patch_type}"
            out.append(causes.required(f"{path}.{field}", detail))
        else:
            _expression(out, f"{path}.{field}.expression", patch_type, found, expressions)


def _expression(
    out: Out, path: str, patch_type: str, found: JSON, expressions: Expressions
) -> None:
    text = found.get("expression", "").strip()
    if not text:
        out.append(causes.required(path))
        return
    # Imported here since it brings in expressions, which a server without policies does without.
    from kubelite.api.machinery.mutation_types import compiled_mutation, mutation_environment

    surroundings = mutation_environment(expressions.composition)
    expressions.tell(path, text, compiled_mutation(surroundings, patch_type, text))
