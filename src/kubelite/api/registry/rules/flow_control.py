"""Rules of FlowSchemas and PriorityLevelConfigurations."""

import math

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    items,
    part,
    required,
)

_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)
HASH_BITS = 60  # of a flow's hash, which shuffle sharding spends on its hand of queues
_STAR = "if '*' is present, must not specify other "


def flow_schema(thing: JSON) -> Out:
    """Check a FlowSchema."""
    out = Out()
    spec, name = part(thing, "spec"), part(thing, "metadata").get("name", "")
    precedence, path = spec.get("matchingPrecedence", 0), "spec.matchingPrecedence"
    if precedence <= 0:
        out.append(causes.invalid(path, precedence, "must be a positive value"))
    elif precedence > 10000:
        out.append(causes.invalid(path, precedence, "must not be greater than 10000"))
    elif precedence == 1 and name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        out.append(causes.invalid(path, precedence, detail))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        at = "spec.distinguisherMethod.type"
        out.append(causes.unsupported(at, method, ("ByNamespace", "ByUser")))
    level = part(spec, "priorityLevelConfiguration").get("name")
    if not level:
        detail = "must reference a priority level"
        out.append(causes.required("spec.priorityLevelConfiguration.name", detail))
    else:
        format_check(out, "spec.priorityLevelConfiguration.name", level, names.dns_subdomain)
    for index, rule in enumerate(items(spec, "rules")):
        _flow_rule(out, f"spec.rules[{index}]", rule)
    return out


_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def _flow_rule(out: Out, path: str, rule: JSON) -> None:
    if not rule.get("subjects"):
        detail = "subjects must contain at least one value"
        out.append(causes.required(f"{path}.subjects", detail))
    for index, subject in enumerate(items(rule, "subjects")):
        _flow_subject(out, f"{path}.subjects[{index}]", subject)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        out.append(causes.required(path, detail))
    for field in ("resourceRules", "nonResourceRules"):
        for index, each in enumerate(items(rule, field)):
            _flow_target(out, f"{path}.{field}[{index}]", each, in_urls=field == "nonResourceRules")


def _flow_subject(out: Out, path: str, subject: JSON) -> None:
    kind = subject.get("kind", "")
    field = _SUBJECTS.get(kind)
    if field is None:
        out.append(causes.unsupported(f"{path}.kind", kind, tuple(_SUBJECTS)))
        return
    for other_kind, other in _SUBJECTS.items():
        if other != field and subject.get(other) is not None:
            detail = f"{other} is forbidden when subject kind is not '{other_kind}'"
            out.append(causes.forbidden(f"{path}.{other}", detail))
    named = subject.get(field)
    if named is None:
        detail = f"{field} is required when subject kind is '{kind}'"
        out.append(causes.required(f"{path}.{field}", detail))
        return
    required(out, named, f"{path}.{field}", "name")
    if kind == "ServiceAccount" and not named.get("namespace"):
        detail = "must specify namespace for service account"
        out.append(causes.required(f"{path}.{field}.namespace", detail))


def _flow_target(out: Out, path: str, rule: JSON, *, in_urls: bool) -> None:
    verbs = items(rule, "verbs")
    if not verbs:
        out.append(causes.required(f"{path}.verbs", "verbs must contain at least one value"))
    elif "*" in verbs:
        if len(verbs) > 1:
            out.append(causes.invalid(f"{path}.verbs", verbs, f"{_STAR}verbs"))
    elif not set(verbs) <= set(_VERBS):
        out.append(causes.unsupported(f"{path}.verbs", verbs, _VERBS))
    if in_urls:
        if not rule.get("nonResourceURLs"):
            detail = "nonResourceURLs must contain at least one value"
            out.append(causes.required(f"{path}.nonResourceURLs", detail))
        return
    for field, words in (("apiGroups", "api group"), ("resources", "resource")):
        found = items(rule, field)
        if not found:
            detail = f"resource rules must supply at least one {words}"
            out.append(causes.required(f"{path}.{field}", detail))
        elif len(found) > 1 and "*" in found:
            out.append(causes.invalid(f"{path}.{field}", found, f"{_STAR}{words}s"))
    namespaces = items(rule, "namespaces")
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        out.append(causes.required(f"{path}.namespaces", detail))
    elif "*" in namespaces and len(namespaces) > 1:
        detail = f"{_STAR}namespaces"
        out.append(causes.invalid(f"{path}.namespaces", namespaces, detail))


def priority_level(thing: JSON) -> Out:
    """Check a PriorityLevelConfiguration."""
    out = Out()
    spec, name = part(thing, "spec"), part(thing, "metadata").get("name", "")
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if (name == "exempt") != (kind == "Exempt"):
        detail = "must be 'Exempt' if and only if `name` is 'exempt'"
        out.append(causes.invalid("spec.type", kind, detail))
    if kind == "Exempt" and limited is not None:
        out.append(causes.forbidden("spec.limited", "must be nil if the type is not Limited"))
    elif kind == "Limited":
        if exempt is not None:
            out.append(causes.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            out.append(causes.required("spec.limited", "must not be empty when type is Limited"))
        else:
            _limited(out, "spec.limited", limited)
    elif kind not in ("Exempt", "Limited"):
        out.append(causes.unsupported("spec.type", kind, ("Exempt", "Limited")))
    return out


def _limited(out: Out, path: str, limited: JSON) -> None:
    if (shares := limited.get("nominalConcurrencyShares") or 0) < 0:
        detail = "must be a non-negative integer"
        out.append(causes.invalid(f"{path}.nominalConcurrencyShares", shares, detail))
    lent = limited.get("lendablePercent")
    if lent is not None and not 0 <= lent <= 100:
        detail = "must be between 0 and 100, inclusive"
        out.append(causes.invalid(f"{path}.lendablePercent", lent, detail))
    response, at = part(limited, "limitResponse"), f"{path}.limitResponse"
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            detail = "must be nil if limited.limitResponse.type is not Limited"
            out.append(causes.forbidden(f"{at}.queuing", detail))
    elif kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            out.append(causes.required(f"{at}.queuing", detail))
        else:
            _queues(out, f"{at}.queuing", queuing)
    else:
        out.append(causes.unsupported(f"{at}.type", kind, ("Queue", "Reject")))


def _queues(out: Out, path: str, queuing: JSON) -> None:
    length, queues = queuing.get("queueLengthLimit", 0), queuing.get("queues", 0)
    hand = queuing.get("handSize", 0)
    for field, value in (("queueLengthLimit", length), ("queues", queues), ("handSize", hand)):
        if value <= 0:
            out.append(causes.invalid(f"{path}.{field}", value, "must be positive"))
    if queues > 10_000_000:
        detail = "must not be greater than 10000000"
        out.append(causes.invalid(f"{path}.queues", queues, detail))
    if hand > queues:
        detail = f"should not be greater than queues ({queues})"
        out.append(causes.invalid(f"{path}.handSize", hand, detail))
    elif hand > 0 and math.ceil(math.log2(queues) * hand) > HASH_BITS:
        # More cards than the flow's hash has bits for are not random, and dealing them takes ever longer.
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} "
            f"should not be greater than {HASH_BITS}"
        )
        out.append(causes.invalid(f"{path}.handSize", hand, detail))
