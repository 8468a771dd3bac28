"""Rules of admission policies and bindings, with the texts of what does not compile."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import admission_policies as rules

JSON = dict[str, Any]
RULE = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["pods"],
    "scope": "*",
}
MATCH = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
POLICY: JSON = {
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "p"},
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {**MATCH, "resourceRules": [RULE]},
        "validations": [{"expression": "true"}],
    },
}
BINDING: JSON = {
    "kind": "ValidatingAdmissionPolicyBinding",
    "spec": {"policyName": "p", "validationActions": ["Deny"]},
}


def with_spec(**spec: Any) -> JSON:
    return {**POLICY, "spec": {**POLICY["spec"], **spec}}


def test_policies() -> None:
    assert rules.validating_policy(POLICY) == []
    assert lines(rules.validating_policy({**POLICY, "spec": {"failurePolicy": "Fail"}})) == [
        "spec.matchConstraints: Required value",
        (
            "spec.validations: Required value: "
            "validations or auditAnnotations must contain at least one item"
        ),
        (
            "spec.auditAnnotations: Required value: "
            "validations or auditAnnotations must contain at least one item"
        ),
    ]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        # Both are taken by Kubernetes: a later variable replaces the one before, and no message is needed.
        ({"variables": [{"name": "a", "expression": "1"}] * 2}, []),
        ({"validations": [{"expression": "true ||\nfalse"}]}, []),
        (
            {"validations": [{"expression": "true", "message": " "}]},
            ['spec.validations[0].message: Invalid value: " ": must be non-empty if specified'],
        ),
        (
            {"validations": [{"expression": "true", "message": "a\nb"}]},
            ['spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks'],
        ),
        (
            {"variables": [{"name": "1a", "expression": "1"}]},
            ['spec.variables[0].name: Invalid value: "1a": must be a valid CEL identifier'],
        ),
        (
            {"variables": [{"name": "in", "expression": "1"}]},
            ['spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier'],
        ),
        (
            {"validations": [{"expression": "1"}]},
            [
                'spec.validations[0].expression: Invalid value: "1": must evaluate to bool but got int'
            ],
        ),
        (
            {"validations": [{"expression": "params.a"}]},
            [
                (
                    'spec.validations[0].expression: Invalid value: "params.a": compilation failed: '
                    "ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n"
                    " | params.a\n | ^"
                )
            ],
        ),
        (
            {
                "validations": [{"expression": "params.a == 1"}, {"expression": "params.a"}],
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            },
            [
                (
                    'spec.validations[1].expression: Invalid value: "params.a": '
                    "must evaluate to bool but got dyn"
                )
            ],
        ),
        (
            {"validations": [{"expression": "true", "reason": "Teapot"}]},
            [
                (
                    'spec.validations[0].reason: Unsupported value: "Teapot": supported values: '
                    '"Forbidden", "Invalid", "RequestEntityTooLarge"'
                )
            ],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": " 1"}]},
            [
                (
                    'spec.auditAnnotations[0].valueExpression: Invalid value: " 1": must evaluate to one of '
                    "[string null_type] but got int"
                )
            ],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": f"'{'a' * 5119}'"}]},
            [
                "spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"
            ],
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "'a'"}] * 2},
            ['spec.auditAnnotations[1].key: Duplicate value: "k"'],
        ),
        (
            {"paramKind": {"apiVersion": "a/b/c", "kind": "Cat_"}},
            [
                'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
                (
                    'spec.paramKind.kind: Invalid value: "Cat_": may have mixed case, but should otherwise match: '
                    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
                    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                ),
            ],
        ),
    ],
)
def test_parts_of_policies(spec: JSON, found: list[str]) -> None:
    assert lines(rules.validating_policy(with_spec(**spec))) == found


def test_a_variable_is_known_by_its_type_to_those_behind_it() -> None:
    spec = {
        "variables": [
            {"name": "a", "expression": "1"},
            {"name": "b", "expression": "variables.a + 1"},
            {"name": "c", "expression": "variables.d"},
            {"name": "d", "expression": "object.x"},
        ],
        "validations": [{"expression": "variables.b == 'x'"}, {"expression": "variables.d == 'x'"}],
    }
    assert lines(rules.validating_policy(with_spec(**spec))) == [
        (
            'spec.variables[2].expression: Invalid value: "variables.d": compilation failed: '
            "ERROR: <input>:1:10: undefined field 'd'\n | variables.d\n | .........^"
        ),
        (
            "spec.validations[0].expression: Invalid value: \"variables.b == 'x'\": compilation failed: "
            "ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n"
            " | variables.b == 'x'\n | ............^"
        ),
    ]


def test_match_conditions_see_no_variables_and_messages_no_authorizer() -> None:
    spec = {
        "variables": [{"name": "a", "expression": "true"}],
        "matchConditions": [{"name": "m", "expression": "variables.a"}],
        "validations": [
            {
                "expression": "true",
                "messageExpression": "authorizer.path('/').check('get').reason()",
            }
        ],
    }
    found = lines(rules.validating_policy(with_spec(**spec)))
    assert [line.partition(":")[0] for line in found] == [
        "spec.matchConditions[0].expression",
        "spec.validations[0].messageExpression",
    ]
    assert all("undeclared reference to" in line for line in found)


def test_match_conditions_that_were_valid_are_not_checked_again() -> None:
    old = with_spec(matchConditions=[{"name": "m", "expression": "1"}])
    assert rules.validating_policy_update(old, old) == []
    assert len(rules.validating_policy_update(old, POLICY)) == 1
    params = changed(old, "spec.paramKind", {"apiVersion": "v1", "kind": "ConfigMap"})
    assert len(rules.validating_policy_update(params, old)) == 1


def test_resource_names_and_wildcards() -> None:
    rule = {**RULE, "resourceNames": ["a", "a", "b/c"], "resources": ["pods/*", "pods/log"]}
    match = {**MATCH, "resourceRules": [rule]}
    at = "spec.matchConstraints.resourceRules[0]"
    assert lines(rules.validating_policy(with_spec(matchConstraints=match))) == [
        f'{at}.resourceNames[1]: Duplicate value: "a"',
        f"{at}.resourceNames[2]: Invalid value: \"b/c\": may not contain '/'",
        f"{at}.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
    ]


def test_bindings() -> None:
    assert rules.policy_binding(BINDING) == []
    both = changed(BINDING, "spec.validationActions", ["Deny", "Warn"])
    assert len(rules.policy_binding(both)) == 1
    reference = {"name": "a", "selector": {}, "parameterNotFoundAction": "Maybe"}
    assert lines(rules.policy_binding(changed(BINDING, "spec.paramRef", reference))) == [
        "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
        "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
        (
            'spec.paramRef.parameterNotFoundAction: Unsupported value: "Maybe": '
            'supported values: "Deny", "Allow"'
        ),
    ]
