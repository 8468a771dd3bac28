"""The rules in the schemas of a CustomResourceDefinition: do they compile, and at what cost?

Source: apiextensions-apiserver's validation. An estimate counts how often the part of a schema can stand in one object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes
from kubelite.api.registry.rules.custom_schema_values import internal_rule
from kubelite.api.registry.rules.values import JSON, Out

if TYPE_CHECKING:
    from kubelite.api.machinery.expressions.compiling import Rule as CompiledRule

EXPRESSION_MAX: Final = (
    10_000_000  # estimated cost of one rule, times how often it may be evaluated
)
SCHEMA_MAX: Final = 100_000_000  # of all rules of a schema
_ENDLESS: Final = (1 << 64) - 1
_SHOWN: Final = 4  # rules that a schema beyond its limit is told to be expensive by
_TOO_EXPENSIVE: Final = (
    "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
)
_UNDECLARED: Final = (
    "Internal error: internal error: failed to construct type information for "
    "x-kubernetes-validations rules: unable to convert structural schema to CEL declarations"
)


class Place(Struct, frozen=True):
    """Where a part of a schema is, for the rules in it."""

    cardinality: int | None = 1  # how often it can stand in one object; None: nothing limits that
    uncorrelated: str = ""  # the path within which old values are unknown; "": they are known
    is_resource: bool = False

    def inside(self, path: str, schema: JSON, *, is_resource: bool) -> Place:
        """Return the place of an item, a value or a property of a schema at this place."""
        return Place(
            _product(self.cardinality, _multiplicity(schema)),
            self.uncorrelated or (path if _hides_old_values(schema) else ""),
            is_resource,
        )


def _multiplicity(schema: JSON) -> int | None:
    kind = schema.get("type", "")
    if kind == "array":
        limit = schema.get("maxItems")
    elif kind == "object" and schema.get("additionalProperties") is not None:
        limit = schema.get("maxProperties")
    else:
        return 1
    return None if limit is None else max(limit, 0)


def _hides_old_values(schema: JSON) -> bool:
    if schema.get("items") is not None:
        return schema.get("x-kubernetes-list-type") != "map"
    return schema.get("x-kubernetes-map-type", "granular") not in ("granular", "atomic")


def _product(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else min(first * second, _ENDLESS)


class ExpressionRules:
    """The rules of one schema, compiled one part after the other."""

    def __init__(self, *, limits_each: bool) -> None:
        """`limits_each` is False for a schema that was there before: it may have a rule beyond the limit."""
        from kubelite.api.machinery.expressions.declarations import Declarations

        self.causes = Out()
        self._declarations = Declarations()
        self._limits_each = limits_each
        self._total = 0
        self._expensive: list[tuple[int, str]] = []

    def check(self, path: str, schema: Any, place: Place) -> None:
        """Compile the rules of a part that has no other fault, and add what is wrong with them."""
        from kubelite.api.machinery.expressions.compiling import compile_rules

        path = f"{path}.x-kubernetes-validations"
        declared = self._declarations.of(schema, is_resource=place.is_resource)
        if declared is None:
            self.causes.append(Cause(path, "InternalError", _UNDECLARED))
            return
        given = schema["x-kubernetes-validations"]
        cardinality = place.cardinality if place.cardinality is not None else declared.cardinality
        for index, (rule, compiled) in enumerate(
            zip(given, compile_rules(given, declared, schema), strict=True)
        ):
            self._one(f"{path}[{index}]", rule, compiled, place, cardinality)

    def _one(
        self, path: str, rule: Any, compiled: CompiledRule, place: Place, cardinality: int
    ) -> None:
        at = f"{path}.rule"
        cost = min(compiled.max_cost * cardinality, _ENDLESS)
        self._limit(at, "estimated rule cost", cost)
        self._observe(at, cost)
        if compiled.problem:
            self.causes.append(causes.invalid(at, internal_rule(rule), compiled.problem))
        self._message(f"{path}.messageExpression", rule, compiled)
        if compiled.uses_old:
            if place.uncorrelated:
                detail = (
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                    f"{place.uncorrelated}"
                )
                self.causes.append(causes.invalid(at, rule.get("rule", ""), detail))
        elif rule.get("optionalOldSelf") is not None:
            detail = "may not be set if oldSelf is not used in rule"
            at = f"{path}.optionalOldSelf"
            self.causes.append(causes.invalid(at, rule["optionalOldSelf"], detail))

    def _message(self, path: str, rule: Any, compiled: CompiledRule) -> None:
        if compiled.message_problem:
            found = causes.invalid(path, internal_rule(rule), compiled.message_problem)
            self.causes.append(found)
        elif compiled.message_program is not None:
            cost = compiled.message_program.cost.max
            self._limit(path, "estimated messageExpression cost", cost)
            self._observe(path, cost)

    def _limit(self, path: str, what: str, cost: int) -> None:
        if self._limits_each and cost > EXPRESSION_MAX:
            self.causes.append(causes.forbidden(path, _exceeded(what, cost, EXPRESSION_MAX)))

    def _observe(self, path: str, cost: int) -> None:
        self._total = min(self._total + cost, _ENDLESS)
        if cost >= SCHEMA_MAX // 100:
            self._expensive.append((cost, path))
            self._expensive.sort(key=lambda each: -each[0])
            del self._expensive[_SHOWN:]

    def total_causes(self, path: str) -> list[Cause]:
        """Return what is wrong with the cost of all rules together; `path` is that of the schema."""
        if self._total <= SCHEMA_MAX:
            return []
        found = [causes.forbidden(at, _TOO_EXPENSIVE) for _, at in self._expensive]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*found, causes.forbidden(path, _exceeded(what, self._total, SCHEMA_MAX))]


def _exceeded(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    factor = "more than 100x" if times > 100 else f"{times:.1f}x"
    if times < 1.5:
        factor = f"{times:f}x"
    return (
        f"{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, "
        "maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
