"""Rules of admission policies and their bindings, expressions included."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.expressions.escaping import RESERVED
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.extensions import operations_rule
from kubelite.api.registry.rules.match_conditions import match_conditions, tell
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    items,
    one_of,
    part,
    required_format,
)

if TYPE_CHECKING:
    from kubelite.api.machinery.admission_expressions import Compiled, Composition

ANNOTATIONS_MAX: Final = 20
VALUE_EXPRESSION_BYTES_MAX: Final = 5 * 1024
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_LINE_BREAK = re.compile("[\n\r]").search


class Expressions:
    """Checks the expressions of one policy; what compiles them is imported where there is one."""

    def __init__(self, out: Out, spec: JSON) -> None:
        self._out = out
        self._has_params = spec.get("paramKind") is not None
        self._has_variables = bool(items(spec, "variables"))
        self._composition: Composition | None = None

    @property
    def composition(self) -> "Composition":
        """The expressions that are compiled so far."""
        if self._composition is None:
            from kubelite.api.machinery.admission_expressions import Composition

            self._composition = Composition(has_params=self._has_params)
        return self._composition

    def variable(self, path: str, name: str, text: str) -> None:
        """Check a variable, which those behind it may use."""
        self.tell(path, text, self.composition.add_variable(name, text))

    def check(
        self,
        path: str,
        text: str,
        results: str,
        *,
        has_authorizer: bool = True,
        shown: str | None = None,
    ) -> None:
        """Check an expression that must result in one of the types of a name of `admission_expressions`.

        It may use the variables of the policy. `shown` is quoted in its place.
        """
        from kubelite.api.machinery import admission_expressions

        types = getattr(admission_expressions, results)
        if self._has_variables:
            found = self.composition.compile(text, types, has_authorizer=has_authorizer)
        else:
            environment = admission_expressions.environment(
                has_params=self._has_params, has_authorizer=has_authorizer
            )
            found = admission_expressions.compiled(environment, text, types)
        self.tell(path, text if shown is None else shown, found)

    def tell(self, path: str, text: str, found: "Compiled") -> None:
        """Append why an expression does not compile, if so."""
        tell(self._out, path, text, found)


def validating_policy(thing: JSON, old: JSON | None = None) -> Out:
    """Check a ValidatingAdmissionPolicy; `old` is what it replaces."""
    out = Out()
    spec = part(thing, "spec")
    expressions = Expressions(out, spec)
    common(out, spec, expressions, None if old is None else part(old, "spec"))
    validations, annotations = items(spec, "validations"), items(spec, "auditAnnotations")
    if not validations and not annotations:
        detail = "validations or auditAnnotations must contain at least one item"
        out.append(causes.required("spec.validations", detail))
        out.append(causes.required("spec.auditAnnotations", detail))
        return out
    for index, validation in enumerate(validations):
        _validation(out, f"spec.validations[{index}]", validation, expressions)
    _annotations(out, part(thing, "metadata").get("name", ""), annotations, expressions)
    return out


def validating_policy_update(thing: JSON, old: JSON) -> Out:
    """Check a changed ValidatingAdmissionPolicy."""
    return validating_policy(thing, old)


def common(out: Out, spec: JSON, expressions: Expressions, old: JSON | None = None) -> None:
    """Check what both kinds of policies have, its variables last; `old` is the spec that it replaces.

    Match conditions that were valid are not checked again.
    """
    one_of(out, "spec.failurePolicy", spec.get("failurePolicy"), enums.FAILURE_POLICIES.enum)
    if (kind := spec.get("paramKind")) is not None:
        _param_kind(out, "spec.paramKind", kind)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        out.append(causes.required("spec.matchConstraints"))
    else:
        match_resources(out, "spec.matchConstraints", constraints)
        if not items(constraints, "resourceRules"):
            out.append(causes.required("spec.matchConstraints.resourceRules"))
    if old is None or any(
        old.get(field) != spec.get(field) for field in ("paramKind", "matchConditions")
    ):
        has_params = spec.get("paramKind") is not None
        found = items(spec, "matchConditions")
        match_conditions(out, "spec.matchConditions", found, has_params=has_params)
    for index, variable in enumerate(items(spec, "variables")):
        _variable(out, f"spec.variables[{index}]", variable, expressions)


def _variable(out: Out, path: str, variable: JSON, expressions: Expressions) -> None:
    name, text = variable.get("name", ""), variable.get("expression", "")
    if not name.strip():
        out.append(causes.required(f"{path}.name", "name is not specified"))
    elif names.c_identifier(name) or name in RESERVED:
        out.append(causes.invalid(f"{path}.name", name, "must be a valid CEL identifier"))
    if not text.strip():
        out.append(causes.required(f"{path}.expression", "expression is not specified"))
    else:
        expressions.variable(f"{path}.expression", name, text)


def _validation(out: Out, path: str, validation: JSON, expressions: Expressions) -> None:
    text = validation.get("expression", "")
    message, message_text = validation.get("message", ""), validation.get("messageExpression", "")
    if not text.strip():
        out.append(causes.required(f"{path}.expression", "expression is not specified"))
    else:
        expressions.check(f"{path}.expression", text, "CONDITION")
    at = f"{path}.messageExpression"
    if message_text and not message_text.strip():
        out.append(causes.invalid(at, message_text, "must be non-empty if specified"))
    elif message_text:
        expressions.check(at, message_text, "TEXT", has_authorizer=False)
    if message and not message.strip():
        out.append(causes.invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif _LINE_BREAK(message.strip()):
        out.append(causes.invalid(f"{path}.message", message, "must not contain line breaks"))
    if (reason := validation.get("reason")) is not None and reason not in _REASONS:
        out.append(causes.unsupported(f"{path}.reason", reason, _REASONS))


def _annotations(
    out: Out, policy: str, annotations: Sequence[JSON], expressions: Expressions
) -> None:
    if len(annotations) > ANNOTATIONS_MAX:
        detail = f"must not have more than {ANNOTATIONS_MAX} auditAnnotations"
        out.append(causes.invalid("spec.auditAnnotations", annotations, detail))
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{index}]", annotation.get("key", "")
        if policy:
            format_check(out, f"{at}.key", f"{policy}/{key}", names.qualified_name)
        else:
            detail = "requires metadata.name be non-empty"
            out.append(causes.invalid(f"{at}.key", key, detail))
        _value(out, f"{at}.valueExpression", annotation.get("valueExpression", ""), expressions)
        if key in seen:
            out.append(causes.duplicate(f"{at}.key", key))
        seen.add(key)


def _value(out: Out, path: str, text: str, expressions: Expressions) -> None:
    trimmed = text.strip()
    if not trimmed:
        out.append(causes.required(path, "valueExpression is not specified"))
    elif len(trimmed.encode()) > VALUE_EXPRESSION_BYTES_MAX:
        detail = f"must not exceed {VALUE_EXPRESSION_BYTES_MAX} bytes in length"
        out.append(causes.required(path, detail))
    else:
        expressions.check(path, trimmed, "TEXT_OR_NULL", shown=text)


def _param_kind(out: Out, path: str, kind: JSON) -> None:
    api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    _api_version(out, f"{path}.apiVersion", api_version)
    if not name:
        out.append(causes.required(f"{path}.kind"))
    elif found := names.dns_1035_label(name.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(found)}"
        out.append(causes.invalid(f"{path}.kind", name, detail))


def _api_version(out: Out, path: str, text: str) -> None:
    if not text:
        out.append(causes.required(path))
        return
    if text.count("/") > 1:
        out.append(causes.invalid(path, text, f"unexpected GroupVersion string: {text}"))
        return
    group, _, version = text.rpartition("/")
    if group and (found := names.dns_subdomain(group)):
        out.append(causes.invalid(path, group, ",".join(found)))
    if not version:
        out.append(causes.invalid(path, text, "version must be specified"))
    elif found := names.dns_1035_label(version):
        out.append(causes.invalid(path, version, ",".join(found)))


def match_resources(out: Out, path: str, match: JSON) -> None:
    """Check which requests a policy or binding is about."""
    one_of(out, f"{path}.matchPolicy", match.get("matchPolicy"), enums.MATCH_POLICIES.enum)
    for field in ("namespaceSelector", "objectSelector"):
        if match.get(field) is None:
            out.append(causes.required(f"{path}.{field}"))
        else:
            labels.selector(out, f"{path}.{field}", match.get(field))
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(items(match, field)):
            at = f"{path}.{field}[{index}]"
            _resource_names(out, f"{at}.resourceNames", items(rule, "resourceNames"))
            operations_rule(out, at, rule)


def _resource_names(out: Out, path: str, found: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(found):
        format_check(out, f"{path}[{index}]", name, names.path_segment)
        if name in seen:
            out.append(causes.duplicate(f"{path}[{index}]", name))
        seen.add(name)


def policy_binding(thing: JSON) -> Out:
    """Check a Validating- or MutatingAdmissionPolicyBinding."""
    out = Out()
    spec = part(thing, "spec")
    required_format(out, "spec.policyName", spec.get("policyName"), names.dns_subdomain)
    if (reference := spec.get("paramRef")) is not None:
        _param_reference(out, "spec.paramRef", reference)
    if (match := spec.get("matchResources")) is not None:
        match_resources(out, "spec.matchResources", match)
    if thing.get("kind") == "ValidatingAdmissionPolicyBinding":
        _actions(out, "spec.validationActions", items(spec, "validationActions"))
    return out


def _param_reference(out: Out, path: str, reference: JSON) -> None:
    name, selector = reference.get("name"), reference.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        format_check(out, f"{path}.name", name, names.path_segment)
        if selector is not None:
            out.append(causes.forbidden(f"{path}.name", exclusive))
    if selector is not None:
        labels.selector(out, f"{path}.selector", selector)
        if name:
            out.append(causes.forbidden(f"{path}.selector", exclusive))
    if not name and selector is None:
        out.append(causes.required(path, "one of name or selector must be specified"))
    at = f"{path}.parameterNotFoundAction"
    one_of(out, at, reference.get("parameterNotFoundAction"), ("Deny", "Allow"))


def _actions(out: Out, path: str, actions: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, action in enumerate(actions):
        one_of(out, f"{path}[{index}]", action, enums.VALIDATION_ACTIONS.enum)
        if action in seen:
            out.append(causes.duplicate(f"{path}[{index}]", action))
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information "
            "in the API response and headers serves no purpose)"
        )
        out.append(causes.invalid(path, actions, detail))
    if not seen:
        out.append(causes.required(path, "at least one validation action is required"))
