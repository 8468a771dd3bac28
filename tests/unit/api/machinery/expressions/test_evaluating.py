"""What the rules of schemas find."""

from typing import Any

import pytest

from kubelite.api.machinery.expressions.evaluating import Findings, RuleSet
from kubelite.api.machinery.shaping.blame import Blame
from kubelite.api.machinery.shaping.constraints import Compiler
from kubelite.api.machinery.shaping.embedded import no_rules
from kubelite.api.machinery.shaping.shape import TooPatient
from kubelite.limits import EXPRESSION_COST, RULES_COST

JSON = dict[str, Any]
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
RULES = "x-kubernetes-validations"


def node(*rules: JSON | str, **properties: JSON) -> JSON:
    """Return a schema of an object with rules."""
    made = [rule if isinstance(rule, dict) else {"rule": rule} for rule in rules]
    return {"type": "object", "properties": properties, **({RULES: made} if made else {})}


def found(
    schema: JSON, value: Any, old: Any = None, *, patience: int | None = None, ratchets: bool = True
) -> Findings:
    findings = Findings(patience)
    blame = Blame(Compiler(no_rules))
    rules = RuleSet(schema, is_resource=False)
    rules.evaluate(value, old, blame, findings=findings, ratchets=ratchets)
    return findings


def texts(findings: Findings) -> list[str]:
    return [f"{cause.path}: {cause.message}" for cause in findings.causes]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"rule": "self.a > 5"}, "<nil>: Invalid value: failed rule: self.a > 5"),
        ({"rule": "self.a > 5", "message": " too few "}, "<nil>: Invalid value: too few"),
        (
            {"rule": "self.a > 5", "messageExpression": "'not ' + string(self.a)", "message": "m"},
            "<nil>: Invalid value: not 1",
        ),
        (
            {"rule": "self.a > 5", "messageExpression": "' '", "message": "m"},
            "<nil>: Invalid value: m",
        ),
        (
            {"rule": "self.a > 5", "messageExpression": "'a\\nb'", "message": "m"},
            "<nil>: Invalid value: m",
        ),
        (
            {"rule": "self.a > 5", "messageExpression": "string(1 / 0)", "message": "m"},
            "<nil>: Invalid value: m",
        ),
        (
            {"rule": "self.a > 5", "reason": "FieldValueForbidden", "fieldPath": ".a"},
            "a: Forbidden: failed rule: self.a > 5",
        ),
        (
            {"rule": "self.a > 5", "reason": "FieldValueRequired", "message": "m"},
            "<nil>: Required value: m",
        ),
        ({"rule": "self.a > 5", "reason": "FieldValueDuplicate"}, "<nil>: Duplicate value"),
        (
            {"rule": "self.a / 0 > 5", "message": "m"},
            '<nil>: Invalid value: "object": division by zero evaluating rule: m',
        ),
    ],
)
def test_what_a_failed_rule_says(rule: JSON, text: str) -> None:
    assert texts(found(node(rule, a=NUMBER), {"a": 1})) == [text]


def test_rules_are_found_everywhere() -> None:
    inner = {**TEXT, RULES: [{"rule": "self == 'x'"}]}
    schema = node(
        "self.a != ''",
        a=inner,
        l={"type": "array", "items": inner},
        m={"type": "object", "additionalProperties": inner},
        o=node(**{"a-b": inner}),
    )
    value = {"a": "y", "l": ["x", "z"], "m": {"k": "z"}, "o": {"a-b": "z"}, "unknown": 1}
    failed = "Invalid value: {}: failed rule: self == 'x'"
    assert texts(found(schema, value)) == [
        f"{path}: {failed.format(shown)}"
        for path, shown in (("a", '"y"'), ("l[1]", '"z"'), ("m[k]", '"z"'), ("o.a-b", '"z"'))
    ]


def test_a_rule_of_an_alternative_applies() -> None:
    schema = node("true", a=NUMBER)
    schema["allOf"] = [{"properties": {"a": {RULES: [{"rule": "self > 5"}]}}}]
    assert texts(found(schema, {"a": 1})) == ["a: Invalid value: 1: failed rule: self > 5"]


def test_null_and_absent_values_have_no_rules() -> None:
    inner = {**TEXT, "nullable": True, RULES: [{"rule": "self == 'x'"}]}
    assert not found(node(a=inner), {"a": None}).causes
    assert not found(node(a=inner), {}).causes
    assert not found(node("!has(self.a)", a=inner), {"a": None}).causes


def test_transition_rules() -> None:
    schema = node(a={**NUMBER, RULES: [{"rule": "self >= oldSelf"}]})
    assert not found(schema, {"a": 1}).causes
    assert not found(schema, {"a": 2}, {"a": 1}).causes
    assert not found(schema, {"a": 2}, {"b": 1}).causes
    assert texts(found(schema, {"a": 1}, {"a": 2})) == [
        "a: Invalid value: 1: failed rule: self >= oldSelf"
    ]


def test_an_optional_old_value() -> None:
    rule = {"rule": "!oldSelf.hasValue() || self > oldSelf.value()", "optionalOldSelf": True}
    schema = node(a={**NUMBER, RULES: [rule]})
    assert not found(schema, {"a": 1}).causes
    assert not found(schema, {"a": 2}, {"a": 1}).causes
    assert found(schema, {"a": 1}, {"a": 1}).causes


def test_elements_of_a_list_of_type_map_have_old_values() -> None:
    items = node("self.v >= oldSelf.v", k=TEXT, v=NUMBER)
    listed = {
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    }
    old = {"l": [{"k": "a", "v": 5}, {"k": "b", "v": 1}]}
    new = {"l": [{"k": "b", "v": 1}, {"k": "c", "v": 0}, {"k": "a", "v": 4}]}
    assert [cause.path for cause in found(node(l=listed), new, old).causes] == ["l[2]"]


def test_what_did_not_change_is_a_warning() -> None:
    schema = node("self.a > 5", a=NUMBER, b={**TEXT, RULES: [{"rule": "self == 'x'"}]})
    kept = found(schema, {"a": 1, "b": "y"}, {"a": 1, "b": "y"})
    assert texts(kept) == []
    assert kept.warnings == [
        "<nil>: Invalid value: failed rule: self.a > 5",
        "b: Invalid value: \"y\": failed rule: self == 'x'",
    ]
    changed = found(schema, {"a": 2, "b": "y"}, {"a": 1, "b": "y"})
    assert texts(changed) == ["<nil>: Invalid value: failed rule: self.a > 5"]
    assert len(changed.warnings) == 1
    assert len(found(schema, {"a": 1}, {"a": 1}, ratchets=False).causes) == 1


def bomb(size: int) -> tuple[JSON, JSON]:
    listed = {"type": "array", "items": NUMBER}
    rule = "self.l.all(a, self.l.all(b, a + b >= 0))"
    return node(rule, {"rule": "true"}, l=listed), {"l": list(range(size))}


def test_one_evaluation_has_a_limit() -> None:
    schema, value = bomb(1000)
    before = EXPRESSION_COST.times_reached
    (text,) = texts(found(schema, value))
    assert EXPRESSION_COST.times_reached == before + 1
    assert text == (
        "<nil>: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no "
        "further validation rules will be run due to call cost exceeds limit for rule: "
        "self.l.all(a, self.l.all(b, a + b >= 0))"
    )


def test_all_evaluations_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES_COST, "value", 100_000)
    schema, value = bomb(100)
    many = {"type": "array", "items": schema}
    findings = found(many, [value] * 5)
    (text,) = texts(findings)
    assert "failed due to running out of cost budget" in text
    assert 0 <= findings.left < RULES_COST.value


def test_who_has_no_patience_hears_of_it() -> None:
    schema, value = bomb(400)
    with pytest.raises(TooPatient):
        found(schema, value, patience=1000)
    assert found(schema, value).causes  # with patience it reaches the limit of one evaluation
    assert not found(*bomb(3), patience=1000).causes


def test_reading_a_list_in_a_loop_does_not_convert_it_each_time() -> None:
    numbers = {"type": "array", "items": {"type": "number"}}
    schema = node("self.l.all(a, self.l[0] <= a)", l=numbers)
    assert not found(schema, {"l": [1, 2, 2.5]}).causes
