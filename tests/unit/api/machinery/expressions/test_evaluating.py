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


SET = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}
KEYED = {
    "type": "array",
    "items": node(k=TEXT, v=NUMBER),
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
}
PLAIN = {"type": "array", "items": TEXT}
LISTS: JSON = {
    "s": ["a", "b"],
    "p": ["a", "b"],
    "m": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
    "inner": {"s": ["x", "y"]},
}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("self.s == ['b', 'a']", True),
        ("['b', 'a'] == self.s", False),  # the left side decides
        ("self.s != ['b', 'a']", False),
        ("self.s == ['a', 'a']", True),  # as in Kubernetes, which compares sizes and elements
        ("self.s == ['a']", False),
        ("self.p == ['b', 'a']", False),
        ("self.s == self.p && self.p == self.s", True),
        ("self.s + ['c', 'a'] == ['a', 'c', 'b']", True),
        ("(self.s + ['c', 'a', 'c']).size() == 3", True),
        ("self.s + self.s == self.s", True),
        ("self.p + self.p == self.p", False),
        ("(self.s + ['z'])[2] == 'z'", True),
        ("(self.s + ['z']) + ['z'] == ['z', 'a', 'b']", True),
        ("self.m + self.m == self.m && (self.m + self.m).size() == 2", True),
        ("self.m == [self.m[1], self.m[0]]", True),
        ("self.m != [self.m[1], self.m[0]]", False),
        ("[self.m[1], self.m[0]] == self.m", False),
        ("self.m == [self.m[0], self.m[0]]", True),  # as in Kubernetes, which compares sizes and keys
        ("self.inner == dyn({'s': ['y', 'x']})", True),
        ("dyn(self.inner) == self.inner", True),
        ("[self.s] == [['b', 'a']]", True),
        ("['b', 'a'] in [self.s]", False),
        ("self.s in [['b', 'a']]", True),
        ("self.s.map(x, x + '!') == ['b!', 'a!']", False),
        ("sets.equivalent(self.s, ['b', 'a', 'a'])", True),
        ("self.s.exists(x, x == 'b') && self.s[1] == 'b' && 'b' in self.s && self.s.size() == 2", True),
        ("type(self.s) == list && self.s.indexOf('b') == 1 && self.s.isSorted()", True),
        ("oldSelf.hasValue() || self.s == self.s", True),
    ],
)  # fmt: skip
def test_sets_and_maps_compare_without_order_and_join_by_key(rule: str, holds: bool) -> None:
    rules = {"rule": rule, "optionalOldSelf": "oldSelf" in rule}
    schema = node(rules, s=SET, p=PLAIN, m=KEYED, inner=node(s=SET))
    assert texts(found(schema, LISTS)) == (
        [] if holds else [f"<nil>: Invalid value: failed rule: {rule}"]
    )


def test_a_sum_of_maps_takes_the_later_values_in_the_former_places() -> None:
    rule = "(self.m + dyn(self.n)).map(e, e.k + string(e.v)) == ['a1', 'b7', 'c3']"
    schema = node(rule, m=KEYED, n={**PLAIN, "items": node(k=TEXT, v=NUMBER)})
    value = {"m": LISTS["m"], "n": [{"k": "b", "v": 7}, {"k": "c", "v": 3}]}
    assert texts(found(schema, value)) == []


def test_an_old_value_may_be_in_another_order() -> None:
    schema = node("self.m == oldSelf.m && self.s == oldSelf.s", s=SET, m=KEYED)
    other = {"s": LISTS["s"][::-1], "m": LISTS["m"][::-1]}
    assert texts(found(schema, LISTS, other)) == []


def test_a_set_of_bools_knows_no_numbers() -> None:
    schema = node("self.s != [dyn(1)]", s={**SET, "items": {"type": "boolean"}})
    assert texts(found(schema, {"s": [True]})) == []


def test_lists_are_marked_only_for_rules_that_compare_them() -> None:
    def marked(rule: str) -> bool:
        rules = RuleSet(node(rule, s=SET, p=PLAIN), is_resource=False)
        assert rules._part is not None
        return rules._part.compares_lists

    for rule in (
        "self.s.all(x, x != 'a') && self.s.size() < 5",
        "self.p.map(x, x + 'a').exists(x, x == 'aa')",
        "'a' in self.s || self.s[0].startsWith('b')",
        "self.s.filter(x, x != 'a').size() == 1",
    ):
        assert not marked(rule), rule
    for rule in ("self.s == self.p", "self.s + self.p != []", "self.s in [['a']]", "self == self"):
        assert marked(rule), rule


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
