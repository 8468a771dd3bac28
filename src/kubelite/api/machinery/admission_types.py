"""Checks the expressions of validating policies against the types of the objects that the policies are about.

The check of a policy's rules takes objects as they come; this one tells its author, in the status, about fields that
the objects do not have. Texts, bounds and what is passed over are those of Kubernetes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from kubelite.api.kinds.admissionregistration import (
    ExpressionWarning,
    NamedRuleWithOperations,
    ValidatingAdmissionPolicySpec,
)
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.admission_expressions import (
    ANYTHING,
    REQUEST_RESOURCE,
    STRUCTS,
    Composition,
    variables,
)
from kubelite.api.machinery.expressions.escaping import escape
from kubelite.api.machinery.schema import Schema
from kubelite.cel import types
from kubelite.cel.declarations import Field, StructType
from kubelite.cel.environment import Environment
from kubelite.cel.kubernetes import BASE
from kubelite.cel.types import Type

KINDS_MAX: Final = 10  # of one rule
_COMPILING = "compilation failed: "


class Place(Struct, frozen=True, order=True):
    """A resource that a rule names."""

    group: str
    version: str
    plural: str


class Typed(Struct, frozen=True):
    """A kind and the schema of its objects."""

    kind: GroupVersionKind
    schema: Schema


def places_of(rule: NamedRuleWithOperations) -> Sequence[Place]:
    """Return the resources of a rule, in their order; none if one of its groups or versions stands for all."""
    if any("*" in name for name in (*rule.apiGroups, *rule.apiVersions)):
        return ()
    plurals = sorted(one for one in rule.resources if not set(one) & set("*/"))
    return [
        Place(group, version, plural)
        for group in sorted(rule.apiGroups)
        for version in sorted(rule.apiVersions)
        for plural in plurals
    ]


def expression_warnings(
    spec: ValidatingAdmissionPolicySpec, kinds: Iterable[Typed], params: Schema | None
) -> list[ExpressionWarning]:
    """Return what is wrong with validations and their messages if objects are of these kinds.

    `params` is the schema of the paramKind, None if that is not known.
    """
    checked = [
        (one.kind, _composition(spec, one, params))
        for one in sorted(kinds, key=lambda one: _order(one.kind))
    ]
    found = []
    for index, validation in enumerate(spec.validations):
        for field, text in (
            ("expression", validation.expression),
            ("messageExpression", validation.messageExpression),
        ):
            warnings = _warnings(text, checked) if text else ()
            if warnings:
                at = f"spec.validations[{index}].{field}"
                found.append(ExpressionWarning(fieldRef=at, warning="\n".join(warnings)))
    return found


def _order(kind: GroupVersionKind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.kind


def _warnings(text: str, checked: Sequence[tuple[GroupVersionKind, Composition]]) -> Sequence[str]:
    found = []
    for kind, composition in checked:
        error = composition.compile(text, ANYTHING).error
        if error.startswith(_COMPILING):
            where = f"{kind.group}/{kind.version}, Kind={kind.kind}"
            found.append(f"{where}: {error.removeprefix(_COMPILING)}\n")
    return found


def _composition(
    spec: ValidatingAdmissionPolicySpec, typed: Typed, params: Schema | None
) -> Composition:
    declared = _Declared()
    object_type = declared.of(typed.schema, typed.kind.kind) or types.DYN
    params_type = types.DYN
    has_params = spec.paramKind is not None
    if params is not None and spec.paramKind is not None:
        params_type = declared.of(params, f"params.{spec.paramKind.kind}") or types.DYN
    seen = dict(
        variables(
            has_params=has_params,
            has_authorizer=True,
            object_type=object_type,
            params_type=params_type,
        )
    )
    del seen[REQUEST_RESOURCE]  # as upstream, whose check does not know it
    environment = BASE.extended(variables=seen, structs={**STRUCTS, **declared.structs})

    def surroundings(_has_authorizer: bool) -> Environment:
        return environment

    composition = Composition(has_params=has_params, surroundings=surroundings)
    composition.add_variables((one.name, one.expression) for one in spec.variables)
    return composition


_TEXTS: Final[Mapping[str, Type]] = {
    "byte": types.BYTES,
    "duration": types.DURATION,
    "date": types.TIMESTAMP,
    "date-time": types.TIMESTAMP,
}
_SCALARS: Final[Mapping[str, Type]] = {
    "quantity": types.STRING,
    "time": types.TIMESTAMP,
    "integer": types.INT,
    "number": types.DOUBLE,
    "boolean": types.BOOL,
    "int-or-string": types.DYN,
}


class _Declared:
    """Declares the object types of schemas, each by the path that leads to it, as upstream does."""

    def __init__(self) -> None:
        self.structs: dict[str, StructType] = {}
        self._above: set[str] = set()  # definitions around the present node

    def of(self, node: Schema, path: str) -> Type | None:
        """Return the type of a node; None if expressions cannot see it."""
        if node.type in _SCALARS:
            return _SCALARS[node.type]
        if node.type == "string":
            return _TEXTS.get(node.format, types.STRING)
        if node.type == "array" and node.items is not None:
            element = self.of(node.items, f"{path}.@idx")
            return None if element is None else types.list_of(element)
        if node.type in ("map", "object") and node.items is not None and not node.fields:
            value = self.of(node.items, f"{path}.@elem")
            return None if value is None else types.map_of(types.STRING, value)
        return self._object(node, path) if node.type == "object" else None

    def _object(self, node: Schema, path: str) -> Type:
        fields: dict[str, Field] = {}
        self.structs[path] = StructType(fields)
        definition = node.definition
        if definition in self._above:  # it contains itself, and stays empty inside of itself
            return types.struct(path)
        if definition:
            self._above.add(definition)
        for name, inner in node.fields.items():
            type_, known = self.of(inner, f"{path}.{name}"), escape(name)
            if type_ is not None and known is not None:
                fields[known] = Field(type_)
        self._above.discard(definition)
        return types.struct(path)
