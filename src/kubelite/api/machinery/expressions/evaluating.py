"""Evaluates the rules in a custom resource's schema against an object, in Kubernetes 1.36's order and words.

A rule sees the value at its part as `self`, and as `oldSelf` what stood there before, where the two can be told to
belong together. A rule that reads no old value and fails on what did not change is a warning only.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from kubelite.api.errors import Cause
from kubelite.api.machinery.causes import (
    duplicate,
    forbidden,
    invalid,
    quoted,
    required,
)
from kubelite.api.machinery.expressions.compiling import OLD_SELF, SELF, Rule, compile_rules
from kubelite.api.machinery.expressions.declarations import Declarations, Declared
from kubelite.api.machinery.expressions.escaping import escape
from kubelite.api.machinery.paths import FieldPath
from kubelite.api.machinery.schema_walk import RULES
from kubelite.api.machinery.shaping.blame import Blame, Former, element_key, former_field
from kubelite.api.machinery.shaping.compile_openapi import LIST_TYPE
from kubelite.api.machinery.shaping.shape import TooPatient
from kubelite.cel.frame import CostExceeded
from kubelite.cel.values import NONE, EvaluationFailed, Optional
from kubelite.limits import EXPRESSION_COST, EXPRESSION_WORK, RULE_MESSAGE, RULES_COST

JSON = dict[str, Any]
Path = FieldPath | None

_ELEMENTS_A_UNIT: Final = 5  # compared or copied in the time of one unit of cost
_SPENT: Final = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


class OutOfBudget(Exception):
    """No further rule is evaluated; the cause is recorded."""


class Findings:
    """What the rules of one object found so far, and what they may still cost."""

    def __init__(self, patience: int | None = None) -> None:
        """After `patience` units of cost, TooPatient is raised; None: never."""
        self.causes: list[Cause] = []
        self.warnings: list[str] = []
        self.left = RULES_COST.value
        self._floor = None if patience is None else self.left - patience

    @property
    def limit(self) -> int:
        """Return what one evaluation may cost."""
        if self._floor is None:
            return EXPRESSION_COST.value
        return min(EXPRESSION_COST.value, max(self.left - self._floor, 0))

    @property
    def work(self) -> int:
        """Return how many elements one evaluation may compare and copy."""
        return min(EXPRESSION_WORK.value, self.limit * _ELEMENTS_A_UNIT)

    def spend(self, cost: int) -> bool:
        """Take the cost of an evaluation from the budget; return False if it is not enough."""
        if cost > self.left:
            RULES_COST.reached()
            return False
        self.left -= cost
        return True

    def exceeded(self, error: CostExceeded) -> None:
        """Raise TooPatient if an evaluation was broken off for want of patience, else count the limit that it met."""
        if self.limit < EXPRESSION_COST.value:
            raise TooPatient from error
        error.limit.reached()


class Seen(NamedTuple):
    """What ratcheting compares a value with: its own former value, or that of the nearest part that has one."""

    former: Former | None  # None: nothing stood there, or nothing can be told to have
    above: tuple[Any, Former] | None  # a value around it, with its former one


_UNSEEN: Final = Seen(None, None)


class Part:
    """The rules at one part of a schema and below it."""

    __slots__ = (
        "additional",
        "all_of",
        "compares_lists",
        "declared",
        "is_resource",
        "items",
        "node",
        "properties",
        "rules",
        "type",
        "uses_old",
    )

    def __init__(self, node: JSON, declared: Declared | None, rules: list[Rule]) -> None:
        self.node = node
        self.declared = declared
        self.rules = rules
        self.type: str = node.get("type", "")
        self.uses_old = any(rule.uses_old for rule in rules)
        self.compares_lists = any(rule.compares_lists for rule in rules)
        self.items: Part | None = None
        self.additional: Part | None = None
        self.properties: dict[str, Part] = {}
        self.all_of: list[Part] = []

    @property
    def is_empty(self) -> bool:
        """Return whether there is no rule here nor below."""
        return not (self.rules or self.items or self.additional or self.properties or self.all_of)


def compile_part(
    node: JSON,
    declarations: Declarations,
    declared: Declared | None,
    *,
    validation: JSON | None = None,
) -> Part | None:
    """Compile all rules at a part and below it; None: there are none.

    `validation` is a schema within an alternative, whose rules apply to the part.
    """
    rules_of = node if validation is None else validation
    rules = rules_of.get(RULES) or []
    part = Part(node, declared, [])
    if rules and declared is not None:
        part = Part(node, declared, compile_rules(rules, declared, node))
    _below(part, node, rules_of, declarations, declared)
    part.all_of = [
        found
        for each in rules_of.get("allOf") or ()
        if (found := compile_part(node, declarations, declared, validation=each)) is not None
    ]
    return None if part.is_empty else part


def _below(
    part: Part, node: JSON, rules_of: JSON, declarations: Declarations, declared: Declared | None
) -> None:
    element = None if declared is None else declared.element
    for name, place in (("items", "items"), ("additionalProperties", "additional")):
        inner, inner_rules = node.get(name), rules_of.get(name)
        if isinstance(inner, dict) and isinstance(inner_rules, dict):
            setattr(
                part,
                place,
                compile_part(inner, declarations, element, validation=_other(inner_rules, inner)),
            )
    properties: JSON = node.get("properties") or {}
    for name, inner_rules in (rules_of.get("properties") or {}).items():
        inner = properties.get(name)
        if inner is None:
            continue
        if escape(name) is None:
            field = declarations.inner(inner)
        else:
            found = (declared.fields or {}) if declared is not None else {}
            field = found.get(escape(name) or "", ("", None))[1]
        if field is None:
            continue
        if compiled := compile_part(
            inner, declarations, field, validation=_other(inner_rules, inner)
        ):
            part.properties[name] = compiled


def _other(validation: JSON, node: JSON) -> JSON | None:
    return None if validation is node else validation


class Evaluation:
    """One walk over an object."""

    def __init__(self, findings: Findings, blame: Blame) -> None:
        self._findings = findings
        self._blame = blame

    def run(self, part: Part, value: Any, old: Any, path: Path, seen: Seen) -> None:
        """Evaluate the rules of a part on a value; raises OutOfBudget and TooPatient."""
        if value is None:
            return
        if part.rules:
            self._rules(part, value, old, path, seen)
        for inner in part.all_of:
            self.run(inner, value, old, path, Seen(None, seen.above))
        if value.__class__ is list:
            self._list(part, value, old, path, seen)
        elif value.__class__ is dict:
            self._object(part, value, old, path, seen)

    def _list(self, part: Part, value: list[Any], old: Any, path: Path, seen: Seen) -> None:
        if part.items is None:
            return
        node = part.node
        before = _elements(node, old) if node.get(LIST_TYPE) == "map" else {}
        former = None if seen.former is None else seen.former.value
        ratcheted = before if former is old else _elements(node, former)
        for index, item in enumerate(value):
            key = element_key(node, item) if before or ratcheted else None
            was = Former(ratcheted[key], node["items"]) if key in ratcheted else None
            inner = self._inside(value, seen, was)
            self.run(part.items, item, before.get(key), FieldPath(path, index), inner)

    def _object(self, part: Part, value: JSON, old: Any, path: Path, seen: Seen) -> None:
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            is_key = part.additional is not None
            inner = part.additional if is_key else part.properties.get(name)
            if inner is None:
                continue
            if path is None and name in ("apiVersion", "kind"):
                found = _UNSEEN
            else:
                found = self._inside(value, seen, former_field(seen.former, name))
            at = FieldPath(path, name, bracketed=is_key)
            self.run(inner, item, before.get(name), at, found)

    def _inside(self, value: Any, seen: Seen, former: Former | None) -> Seen:
        """Return what is known of the former values of a value within another one."""
        if seen.former is None:
            return Seen(None, seen.above)
        return Seen(former, (value, seen.former))

    def _is_unchanged(self, value: Any, seen: Seen) -> bool:
        if seen.former is not None:
            return self._blame.is_same(value, seen.former.value, seen.former.node)
        if seen.above is None:
            return False
        around, former = seen.above
        return self._blame.is_same(around, former.value, former.node)

    def _rules(self, part: Part, value: Any, old: Any, path: Path, seen: Seen) -> None:
        findings = self._findings
        if findings.left <= 0:
            self._stop(part, path, _SPENT)
        declared = part.declared
        prepare = None
        if declared is not None:
            prepare = declared.prepare_lists if part.compares_lists else declared.prepare
        variables: dict[str, Any] = {SELF: value if prepare is None else prepare(value)}
        with_optional = variables
        if part.uses_old:
            read = None if declared is None else declared.read
            with_optional = {**variables, OLD_SELF: NONE}
            if old is not None:
                variables[OLD_SELF] = old if prepare is None else prepare(old)
                with_optional[OLD_SELF] = _optional(variables[OLD_SELF], read)
        for rule in part.rules:
            self._rule(rule, part, value, old, path, seen, variables, with_optional)

    def _rule(
        self,
        rule: Rule,
        part: Part,
        value: Any,
        old: Any,
        path: Path,
        seen: Seen,
        variables: Mapping[str, Any],
        with_optional: Mapping[str, Any],
    ) -> None:
        if rule.problem:
            self._invalid(part, path, f"rule compile error: {rule.problem}")
            return
        if rule.program is None or (rule.uses_old and old is None and not rule.takes_absent):
            return
        given = with_optional if rule.takes_absent else variables
        try:
            found = rule.program.evaluate(given, self._findings.limit, self._findings.work)
        except CostExceeded as error:
            self._findings.exceeded(error)
            self._stop(
                part,
                path,
                f"'{error}': no further validation rules will be run due to call cost exceeds limit "
                f"for rule: {rule.shown}",
            )
        if not self._findings.spend(found.cost):
            self._stop(part, path, _SPENT)
        if isinstance(found.value, EvaluationFailed):
            self._failed(found.value.text, rule, part, path)
        elif found.value is not True:
            self._refused(rule, part, value, path, seen, variables)

    def _failed(self, text: str, rule: Rule, part: Part, path: Path) -> None:
        if text.startswith("no such overload"):
            self._invalid(
                part,
                path,
                f"'{text}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {rule.shown}",
            )
        else:
            self._invalid(part, path, f"{text} evaluating rule: {rule.shown}")

    def _refused(
        self,
        rule: Rule,
        part: Part,
        value: Any,
        path: Path,
        seen: Seen,
        variables: Mapping[str, Any],
    ) -> None:
        at = FieldPath(path, rule.field_path) if rule.field_path else path
        detail, problem = "", ""
        if rule.message_program is not None:
            detail, problem = self._message(rule, variables)
        if problem:
            cause = invalid(_place(at), part.type, problem)
        else:
            detail = detail or rule.message.strip() or f"failed rule: {rule.shown}"
            cause = _cause(rule, part, value, _place(at), detail)
        if not rule.uses_old and self._is_unchanged(value, seen):
            self._findings.warnings.append(f"{cause.path}: {cause.message}")
        else:
            self._findings.causes.append(cause)
        if problem:
            raise OutOfBudget

    def _message(self, rule: Rule, variables: Mapping[str, Any]) -> tuple[str, str]:
        """Return the text of a message expression, "" if it has none, and what ends the evaluation of all rules."""
        assert rule.message_program is not None
        try:
            limit, work = self._findings.limit, self._findings.work
            found = rule.message_program.evaluate(variables, limit, work)
        except CostExceeded as error:
            self._findings.exceeded(error)
            return "", (
                "no further validation rules will be run due to call cost exceeds limit for "
                f"messageExpression: {quoted(rule.message_text)}"
            )
        if not self._findings.spend(found.cost):
            return "", (
                "messageExpression evaluation failed due to running out of cost budget, no further "
                "validation rules will be run"
            )
        if not isinstance(found.value, str):
            return "", ""
        text = found.value.strip()
        if len(text.encode()) > RULE_MESSAGE.value:
            RULE_MESSAGE.reached()
            return "", ""
        return ("", "") if "\n" in text else (text, "")

    def _invalid(self, part: Part, path: Path, detail: str) -> None:
        self._findings.causes.append(invalid(_place(path), part.type, detail))

    def _stop(self, part: Part, path: Path, detail: str) -> NoReturn:
        self._invalid(part, path, detail)
        raise OutOfBudget


def _cause(rule: Rule, part: Part, value: Any, at: str, detail: str) -> Cause:
    is_whole = part.type in ("object", "array")  # which no error shows
    match rule.reason:
        case "FieldValueForbidden":
            return forbidden(at, detail)
        case "FieldValueRequired":
            return required(at, detail)
        case "FieldValueDuplicate" if is_whole:
            return Cause(at, "FieldValueDuplicate", "Duplicate value")
        case "FieldValueDuplicate":
            return duplicate(at, value)
        case _ if is_whole:
            return Cause(at, "FieldValueInvalid", f"Invalid value: {detail}")
        case _:
            return invalid(at, value, detail)


def _optional(value: Any, read: Any) -> Any:
    try:
        return Optional(value if read is None else read(value))
    except EvaluationFailed as error:
        return error


def _elements(node: JSON, values: Any) -> dict[Any, Any]:
    """Return the elements of a list of type map by their keys; none of other lists."""
    if node.get(LIST_TYPE) != "map" or not isinstance(values, list):
        return {}
    return {element_key(node, item): item for item in values}


def _place(path: Path) -> str:
    return "<nil>" if path is None else str(path)


class RuleSet:
    """All rules of one schema, compiled."""

    def __init__(self, node: JSON, *, is_resource: bool) -> None:
        declarations = Declarations()
        declared = declarations.of(node, is_resource=is_resource)
        self._node = node
        self._part = compile_part(node, declarations, declared)

    def evaluate(
        self,
        value: Any,
        old: Any,
        blame: Blame,
        *,
        findings: Findings,
        path: Path = None,
        ratchets: bool = True,
    ) -> None:
        """Add what the rules find to `findings`; raises TooPatient if they cost more than its patience.

        Without `ratchets` an old value excuses nothing.
        """
        if self._part is None:
            return
        former = Former(old, self._node) if ratchets and old is not None else None
        try:
            Evaluation(findings, blame).run(self._part, value, old, path, Seen(former, None))
        except OutOfBudget:
            return
