"""Rules of affinity, tolerations and topology spread, each with the wording of Kubernetes."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import placement
from kubelite.api.registry.rules.values import Out

JSON = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
POD_TERM: JSON = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
SPREAD: JSON = {
    "maxSkew": 1,
    "topologyKey": "zone",
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "web"}},
}
TOLERATION: JSON = {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}


def affinity(value: JSON) -> list[str]:
    out = Out()
    placement.affinity(out, "spec", value)
    return lines(out)


def node_expression(**expression: Any) -> list[str]:
    """Check one expression of a required node affinity; paths begin at it."""
    terms = [{"matchExpressions": [{"key": "zone", **expression}]}]
    found = affinity({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})
    start = f"spec.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]."
    assert all(line.startswith(start) for line in found)
    return [line.removeprefix(start) for line in found]


def node_field(**field: Any) -> list[str]:
    terms = [{"matchFields": [{"key": "metadata.name", **field}]}]
    found = affinity({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})
    start = f"spec.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchFields[0]."
    assert all(line.startswith(start) for line in found)
    return [line.removeprefix(start) for line in found]


def pod_term(term: JSON) -> list[str]:
    start = f"spec.podAntiAffinity.{REQUIRED}[0]."
    found = affinity({"podAntiAffinity": {REQUIRED: [term]}})
    assert all(line.startswith(start) for line in found)
    return [line.removeprefix(start) for line in found]


def spread(*constraints: JSON) -> list[str]:
    out = Out()
    placement.spread(out, "spread", list(constraints))
    return lines(out)


def toleration(**fields: Any) -> list[str]:
    out = Out()
    placement.tolerations(out, "t", [{**TOLERATION, **fields}])
    return lines(out)


def test_good_ones_pass() -> None:
    assert affinity({}) == []
    assert node_expression(operator="In", values=["a", "b"]) == []
    assert node_expression(operator="Gt", values=["1"]) == []
    assert node_expression(operator="Exists") == []
    assert node_field(operator="In", values=["node-1"]) == []
    assert pod_term(POD_TERM) == []
    assert spread(SPREAD, {**SPREAD, "topologyKey": "host"}) == []
    assert toleration() == []
    assert toleration(key="", operator="Exists", value="", effect="") == []


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        (
            {"operator": "In"},
            "values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            {"operator": "DoesNotExist", "values": ["a"]},
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            {"operator": "Lt", "values": ["1", "2"]},
            "values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            {"operator": "Like", "values": ["1"]},
            'operator: Invalid value: "Like": not a valid selector operator',
        ),
    ],
)
def test_expressions_of_node_selectors(expression: JSON, line: str) -> None:
    assert node_expression(**expression) == [line]


def test_keys_and_values_of_node_selectors_are_label_keys_and_values() -> None:
    (key,) = node_expression(key="a b", operator="Exists")
    assert key.startswith('key: Invalid value: "a b": name part must consist of')
    (value,) = node_expression(operator="In", values=["a b"])
    assert value.startswith('values[0]: Invalid value: "a b": a valid label must be')
    # Of a preference values are not checked: old objects may have such, and they only match no node.
    preference = {"matchExpressions": [{"key": "k", "operator": "In", "values": ["a b"]}]}
    term = {"weight": 1, "preference": preference}
    assert affinity({"nodeAffinity": {PREFERRED: [term]}}) == []


@pytest.mark.parametrize(
    ("field", "line"),
    [
        (
            {"operator": "Exists"},
            'operator: Invalid value: "Exists": not a valid selector operator',
        ),
        (
            {"operator": "In", "values": ["a", "b"]},
            (
                "values: Required value: must be only one value when `operator` is 'In' or 'NotIn' "
                "for node field selector"
            ),
        ),
        (
            {"key": "spec.x", "operator": "In", "values": ["A_"]},
            'key: Invalid value: "spec.x": not a valid field selector key',
        ),
    ],
)
def test_fields_of_node_selectors(field: JSON, line: str) -> None:
    assert node_field(**field) == [line]


def test_a_node_name_in_a_field_selector_is_checked() -> None:
    (line,) = node_field(operator="NotIn", values=["A_"])
    assert line.startswith('values[0]: Invalid value: "A_": a lowercase RFC 1123 subdomain')


def test_a_required_node_affinity_has_a_term() -> None:
    assert affinity({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}) == [
        (
            f"spec.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: "
            "must have at least one node selector term"
        )
    ]


@pytest.mark.parametrize("weight", [0, -1, 101])
@pytest.mark.parametrize(
    ("kind", "term"),
    [("nodeAffinity", {"preference": {}}), ("podAffinity", {"podAffinityTerm": POD_TERM})],
)
def test_weights(kind: str, term: JSON, weight: int) -> None:
    assert affinity({kind: {PREFERRED: [{**term, "weight": weight}]}}) == [
        f"spec.{kind}.{PREFERRED}[0].weight: Invalid value: {weight}: must be in the range 1-100"
    ]
    for good in (1, 100):
        assert affinity({kind: {PREFERRED: [{**term, "weight": good}]}}) == []


def test_a_pod_term_names_its_topology_and_namespaces() -> None:
    required, invalid, *_ = pod_term(changed(POD_TERM, "topologyKey", None))
    assert required == "topologyKey: Required value: can not be empty"
    assert invalid.startswith('topologyKey: Invalid value: "": name part must be non-empty')
    (line,) = pod_term({**POD_TERM, "namespaces": ["Bad"]})
    assert line.startswith('namespace: Invalid value: "Bad": a lowercase RFC 1123 label')


def test_label_keys_of_a_pod_term() -> None:
    assert pod_term({"topologyKey": "zone", "matchLabelKeys": ["version"]}) == [
        "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
    ]
    assert pod_term(
        {**POD_TERM, "matchLabelKeys": ["a", "both"], "mismatchLabelKeys": ["both"]}
    ) == [
        'matchLabelKeys[1]: Invalid value: "both": exists in both matchLabelKeys and mismatchLabelKeys'
    ]
    (line,) = pod_term({**POD_TERM, "mismatchLabelKeys": ["a b"]})
    assert line.startswith('mismatchLabelKeys[0]: Invalid value: "a b": name part must consist of')


def test_a_key_that_the_selector_names_as_well_is_refused_unless_it_was_generated() -> None:
    generated = {"key": "version", "operator": "In", "values": ["1"]}
    once = {
        **POD_TERM,
        "matchLabelKeys": ["version"],
        "labelSelector": {"matchExpressions": [generated]},
    }
    assert pod_term(once) == []
    twice = changed(once, "labelSelector.matchExpressions", [generated, generated])
    out = Out()
    placement.affinity(out, "spec", {"podAffinity": {REQUIRED: [twice]}})
    assert lines(out) == [
        (
            f'spec.podAffinity.{REQUIRED}[0][0]: Invalid value: "version": '
            "exists in both matchLabelKeys and labelSelector"
        )
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"key": "", "value": ""},
            (
                't[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
                'which means "match all values and all keys"'
            ),
        ),
        (
            {"tolerationSeconds": 5, "effect": "NoSchedule"},
            (
                "t[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set"
            ),
        ),
        (
            {"operator": "Exists"},
            "t[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        (
            {"operator": "Like"},
            't[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists"',
        ),
        (
            {"effect": "Never"},
            (
                't[0].effect: Unsupported value: "Never": supported values: '
                '"NoSchedule", "PreferNoSchedule", "NoExecute"'
            ),
        ),
    ],
)
def test_tolerations(fields: JSON, line: str) -> None:
    assert toleration(**fields) == [line]


def test_keys_and_values_of_tolerations() -> None:
    (key,) = toleration(key="a b")
    assert key.startswith('t[0].key: Invalid value: "a b": name part must consist of')
    (value,) = toleration(value="a b")
    assert value.startswith('t[0].operator: Invalid value: "a b": a valid label must be')


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"maxSkew": 0}, "maxSkew: Invalid value: 0: must be greater than zero"),
        ({"maxSkew": -1}, "maxSkew: Invalid value: -1: must be greater than zero"),
        (
            {"whenUnsatisfiable": "Maybe"},
            (
                'whenUnsatisfiable: Unsupported value: "Maybe": '
                'supported values: "DoNotSchedule", "ScheduleAnyway"'
            ),
        ),
        ({"topologyKey": ""}, "topologyKey: Required value: can not be empty"),
        ({"minDomains": 0}, "minDomains: Invalid value: 0: must be greater than zero"),
        (
            {"minDomains": 1, "whenUnsatisfiable": "ScheduleAnyway"},
            (
                "minDomains: Invalid value: 1: can only use minDomains if "
                "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
            ),
        ),
        (
            {"nodeTaintsPolicy": "Maybe"},
            'nodeTaintsPolicy: Unsupported value: "Maybe": supported values: "Honor", "Ignore"',
        ),
    ],
)
def test_spread_constraints(fields: JSON, line: str) -> None:
    assert spread({**SPREAD, **fields}) == [f"spread[0].{line}"]


def test_two_constraints_of_one_topology_and_action_are_refused() -> None:
    assert spread(SPREAD, SPREAD) == [
        'spread[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, DoNotSchedule}"'
    ]
    assert spread(SPREAD, {**SPREAD, "whenUnsatisfiable": "ScheduleAnyway"}) == []
