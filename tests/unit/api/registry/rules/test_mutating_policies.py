"""Rules of mutating admission policies and their bindings."""

from typing import Any

import pytest

from kubelite.api.errors import Cause
from kubelite.api.registry.rules.mutating_policies import (
    mutating_binding,
    mutating_policy,
    mutating_policy_update,
)

JSON = dict[str, Any]
APPLY = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
UNSUPPORTED = 'Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"'


def matching(*operations: str) -> JSON:
    rule = {
        "operations": list(operations or ("CREATE",)),
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
        "scope": "*",
    }
    return {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": [rule],
    }


def policy(*mutations: JSON, **spec: Any) -> JSON:
    body = {
        "failurePolicy": "Fail",
        "matchConstraints": matching(),
        "reinvocationPolicy": "Never",
        "mutations": list(mutations or (APPLY,)),
        **spec,
    }
    return {"kind": "MutatingAdmissionPolicy", "metadata": {"name": "a"}, "spec": body}


def json_patch(expression: str) -> JSON:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def apply(expression: str) -> JSON:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def told(causes: list[Cause]) -> list[tuple[str, str]]:
    return [(cause.path, cause.message) for cause in causes]


@pytest.mark.parametrize(
    "valid",
    [
        policy(),
        policy(json_patch("[JSONPatch{op: 'add', path: jsonpatch.escapeKey('a'), value: 1}]")),
        policy(json_patch("has(object.data) ? [JSONPatch{op: 'remove', path: '/x'}] : []")),
        policy(apply("Object{spec: Object.spec{containers: [Object.spec.containers{}]}}")),
        policy(
            apply("Object{spec: variables.v}"), variables=[{"name": "v", "expression": "object"}]
        ),
        policy(apply(" Object{} "), matchConstraints=matching("*"), reinvocationPolicy="IfNeeded"),
        policy(
            apply("Object{spec: params.spec}"), paramKind={"apiVersion": "v1", "kind": "ConfigMap"}
        ),
        policy(matchConstraints=matching("CONNECT", "UPDATE")),
    ],
)
def test_policies_that_are_valid(valid: JSON) -> None:
    assert told(mutating_policy(valid)) == []


@pytest.mark.parametrize(
    ("invalid", "path", "message"),
    [
        (
            policy(mutations=[]),
            "mutations",
            "Required value: mutations must contain at least one item",
        ),
        (
            policy(matchConstraints=matching("DELETE")),
            "matchConstraints.resourceRules.operations",
            UNSUPPORTED,
        ),
        (policy(reinvocationPolicy=""), "reinvocationPolicy", "Required value"),
        (
            policy(reinvocationPolicy="Sometimes"),
            "reinvocationPolicy",
            'Unsupported value: "Sometimes": supported values: "IfNeeded", "Never"',
        ),
        (policy({}), "mutations[0].patchType", "Required value"),
        (
            policy({"patchType": "Merge"}),
            "mutations[0].patchType",
            'Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"',
        ),
        (
            policy({"patchType": "JSONPatch"}),
            "mutations[0].jsonPatch",
            "Required value: must be specified when patchType is JSONPatch",
        ),
        (
            policy({**APPLY, "jsonPatch": {"expression": "nonsense"}}),
            "mutations[0].jsonPatch",
            (
                'Invalid value: "{jsonPatch}": must not be specified when patchType is '
                "ApplyConfiguration"
            ),
        ),
        (policy(apply(" ")), "mutations[0].applyConfiguration.expression", "Required value"),
        (
            policy(json_patch("[]")),
            "mutations[0].jsonPatch.expression",
            'Invalid value: "[]": must evaluate to list(JSONPatch) but got list(dyn)',
        ),
        (
            policy(apply("Object.spec{}")),
            "mutations[0].applyConfiguration.expression",
            'Invalid value: "Object.spec{}": must evaluate to Object but got Object.spec',
        ),
        (
            policy(apply("variables.o"), variables=[{"name": "o", "expression": "object"}]),
            "mutations[0].applyConfiguration.expression",
            'Invalid value: "variables.o": must evaluate to Object but got dyn',
        ),
    ],
)
def test_policies_that_are_not(invalid: JSON, path: str, message: str) -> None:
    assert told(mutating_policy(invalid)) == [(f"spec.{path}", message)]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"variables": [{"name": "o", "expression": "Object{}"}]}, "variables[0].expression"),
        (
            {"matchConditions": [{"name": "c", "expression": "Object{} == Object{}"}]},
            "matchConditions[0].expression",
        ),
        ({"mutations": [apply("Object{spec: params}")]}, "mutations[0].applyConfiguration.expression"),
    ],
)  # fmt: skip
def test_what_an_expression_does_not_see_is_undeclared(spec: JSON, path: str) -> None:
    ((found, message),) = set(told(mutating_policy(policy(**spec))))
    assert found == f"spec.{path}"
    assert "undeclared reference to '" in message


def test_match_conditions_that_were_stored_are_not_checked_again() -> None:
    stored = policy(matchConditions=[{"name": "c", "expression": "nonsense("}])
    assert told(mutating_policy(stored))
    assert not told(mutating_policy_update(policy(**stored["spec"], metadata={}), stored))
    changed = policy(matchConditions=[{"name": "c", "expression": "nonsense[("}])
    assert told(mutating_policy_update(changed, stored))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("UPDATE", []), ("DELETE", [("spec.matchResources.resourceRules.operations", UNSUPPORTED)])],
)
def test_a_binding_is_about_what_has_an_object(
    operation: str, expected: list[tuple[str, str]]
) -> None:
    spec = {"policyName": "a", "matchResources": matching(operation)}
    binding = {"kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "b"}, "spec": spec}
    assert told(mutating_binding(binding)) == expected
