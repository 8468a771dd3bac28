"""Match requests to flow schemas by subject, verb and resource or path."""

from collections.abc import Iterable, Sequence

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.kinds.flowcontrol import (
    FlowSchema,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    ResourcePolicyRule,
    Subject,
)

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


def in_order(schemas: Iterable[FlowSchema]) -> Sequence[FlowSchema]:
    """Return flow schemas in matching order: by precedence, lowest first, then by name."""
    return sorted(
        schemas, key=lambda schema: (schema.spec.matchingPrecedence, schema.metadata.name)
    )


def matching(
    schemas: Sequence[FlowSchema], caller: Caller, attributes: Attributes
) -> FlowSchema | None:
    """Return the first schema with a rule that matches the request, or None."""
    for schema in schemas:
        if any(_rule_matches(rule, caller, attributes) for rule in schema.spec.rules):
            return schema
    return None


def distinguisher(schema: FlowSchema, caller: Caller, attributes: Attributes) -> str:
    """Return the flow distinguisher: the user or the namespace by the schema's method, "" without one."""
    method = schema.spec.distinguisherMethod
    if method is None:
        return ""
    return caller.user if method.type == "ByUser" else attributes.namespace


def _rule_matches(rule: PolicyRulesWithSubjects, caller: Caller, attributes: Attributes) -> bool:
    if not any(_subject_matches(subject, caller) for subject in rule.subjects):
        return False
    if attributes.resource:
        return any(_resource_matches(one, attributes) for one in rule.resourceRules)
    return any(_path_matches(one, attributes) for one in rule.nonResourceRules)


def _subject_matches(subject: Subject, caller: Caller) -> bool:
    if subject.user is not None:
        return subject.user.name in ("*", caller.user)
    if subject.group is not None:
        return subject.group.name == "*" or subject.group.name in caller.groups
    if (account := subject.serviceAccount) is not None:
        namespace, _, name = caller.user.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        return (
            caller.user.startswith(SERVICE_ACCOUNT_PREFIX)
            and namespace == account.namespace
            and account.name in ("*", name)
        )
    return False


def _resource_matches(rule: ResourcePolicyRule, attributes: Attributes) -> bool:
    resource = attributes.resource
    if attributes.subresource:
        resource += "/" + attributes.subresource
    if not (
        _has(rule.verbs, attributes.verb)
        and _has(rule.apiGroups, attributes.group)
        and _has(rule.resources, resource)
    ):
        return False
    if not attributes.namespace:
        return rule.clusterScope
    return _has(rule.namespaces, attributes.namespace)


def _path_matches(rule: NonResourcePolicyRule, attributes: Attributes) -> bool:
    if not _has(rule.verbs, attributes.verb):
        return False
    return any(
        attributes.path.startswith(path[:-1]) if path.endswith("*") else path == attributes.path
        for path in rule.nonResourceURLs
    )


def _has(values: Sequence[str], value: str) -> bool:
    return value in values or "*" in values
