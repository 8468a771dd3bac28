"""Rules of pod placement: affinity, tolerations, topology spread."""

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.values import JSON, Out, format_check, items

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_OPERATOR = "not a valid selector operator"
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ACTIONS = enums.UNSATISFIABLE_ACTIONS.enum
_POLICIES = enums.NODE_INCLUSION_POLICIES.enum


def affinity(out: Out, path: str, value: JSON | None) -> None:
    """Check all affinities of a pod."""
    if not value:
        return
    if (node := value.get("nodeAffinity")) is not None:
        _node_affinity(out, f"{path}.nodeAffinity", node)
    for name in ("podAffinity", "podAntiAffinity"):
        if (pods := value.get(name)) is not None:
            _pod_affinity(out, f"{path}.{name}", pods)


def _node_affinity(out: Out, path: str, value: JSON) -> None:
    if (wanted := value.get(_REQUIRED)) is not None:
        node_selector(out, f"{path}.{_REQUIRED}", wanted)
    for index, term in enumerate(items(value, _PREFERRED)):
        at = f"{path}.{_PREFERRED}[{index}]"
        _weight(out, at, term)
        _node_term(out, f"{at}.preference", term.get("preference") or {}, check_values=False)


def _weight(out: Out, path: str, term: JSON) -> None:
    weight = term.get("weight", 0)
    if not 0 < weight <= 100:
        out.append(causes.invalid(f"{path}.weight", weight, _WEIGHT))


def node_selector(out: Out, path: str, selector: JSON) -> None:
    """Check a NodeSelector."""
    terms = items(selector, "nodeSelectorTerms")
    if not terms:
        detail = "must have at least one node selector term"
        out.append(causes.required(f"{path}.nodeSelectorTerms", detail))
    for index, term in enumerate(terms):
        _node_term(out, f"{path}.nodeSelectorTerms[{index}]", term, check_values=True)


def _node_term(out: Out, path: str, term: JSON, *, check_values: bool) -> None:
    for index, expression in enumerate(items(term, "matchExpressions")):
        at = f"{path}.matchExpressions[{index}]"
        _node_expression(out, at, expression, check_values=check_values)
    for index, expression in enumerate(items(term, "matchFields")):
        _node_field(out, f"{path}.matchFields[{index}]", expression)


def _node_expression(out: Out, path: str, expression: JSON, *, check_values: bool) -> None:
    operator, values = expression.get("operator", ""), items(expression, "values")
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            out.append(causes.required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            out.append(causes.forbidden(f"{path}.values", detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            out.append(causes.required(f"{path}.values", detail))
    else:
        out.append(causes.invalid(f"{path}.operator", operator, _OPERATOR))
    labels.label_key(out, f"{path}.key", expression.get("key", ""))
    if check_values:
        for index, value in enumerate(values):
            format_check(out, f"{path}.values[{index}]", value, names.label_value)


def _node_field(out: Out, path: str, expression: JSON) -> None:
    operator, values = expression.get("operator", ""), items(expression, "values")
    key = expression.get("key", "")
    if operator not in ("In", "NotIn"):
        out.append(causes.invalid(f"{path}.operator", operator, _OPERATOR))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        out.append(causes.required(f"{path}.values", detail))
    if key != "metadata.name":
        out.append(causes.invalid(f"{path}.key", key, "not a valid field selector key"))
        return
    for index, value in enumerate(values):
        format_check(out, f"{path}.values[{index}]", value, names.dns_subdomain)


def _pod_affinity(out: Out, path: str, value: JSON) -> None:
    for index, term in enumerate(items(value, _REQUIRED)):
        _pod_term(out, f"{path}.{_REQUIRED}[{index}]", term)
    for index, weighted in enumerate(items(value, _PREFERRED)):
        at = f"{path}.{_PREFERRED}[{index}]"
        _weight(out, at, weighted)
        _pod_term(out, f"{at}.podAffinityTerm", weighted.get("podAffinityTerm") or {})


def _pod_term(out: Out, path: str, term: JSON) -> None:
    labels.selector(out, f"{path}.labelSelector", term.get("labelSelector"))
    labels.selector(out, f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for name in items(term, "namespaces"):
        format_check(out, f"{path}.namespace", name, names.dns_label)
    _match_keys(out, path, term)
    if not term.get("topologyKey"):
        out.append(causes.required(f"{path}.topologyKey", "can not be empty"))
    labels.label_key(out, f"{path}.topologyKey", term.get("topologyKey", ""))


def _match_keys(out: Out, path: str, term: JSON) -> None:
    selector = term.get("labelSelector")
    mismatched = set(items(term, "mismatchLabelKeys"))
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        keys = items(term, field)
        if keys and selector is None:
            detail = "must not be specified when labelSelector is not set"
            out.append(causes.forbidden(f"{path}.{field}", detail))
        elif keys:
            for index, key in enumerate(keys):
                labels.label_key(out, f"{path}.{field}[{index}]", key)
    _keys_selected_twice(out, path, term)
    for index, key in enumerate(items(term, "matchLabelKeys")):
        if key in mismatched:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            out.append(causes.invalid(f"{path}.matchLabelKeys[{index}]", key, detail))


def _keys_selected_twice(out: Out, path: str, term: JSON) -> None:
    """Reject keys that the selector also names, besides the requirement generated from them at creation."""
    places = {key: index for index, key in enumerate(items(term, "matchLabelKeys"))}
    selector = term.get("labelSelector") or {}
    seen = set(selector.get("matchLabels") or ())
    for expression in items(selector, "matchExpressions") if places else ():
        key = expression.get("key", "")
        if key in seen and key in places:
            detail = "exists in both matchLabelKeys and labelSelector"
            out.append(causes.invalid(f"{path}[{places[key]}]", key, detail))
        seen.add(key)


def tolerations(out: Out, path: str, found: list[JSON]) -> None:
    """Check tolerations."""
    for index, toleration in enumerate(found):
        at, key = f"{path}[{index}]", toleration.get("key", "")
        operator, effect = toleration.get("operator", ""), toleration.get("effect", "")
        if key:
            labels.label_key(out, f"{at}.key", key)
        elif operator != "Exists":
            detail = (
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"'
            )
            out.append(causes.invalid(f"{at}.operator", operator, detail))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.append(causes.invalid(f"{at}.effect", effect, detail))
        _toleration_value(out, at, operator, toleration.get("value", ""))
        if effect and effect not in TAINT_EFFECTS:
            out.append(causes.unsupported(f"{at}.effect", effect, TAINT_EFFECTS))


def _toleration_value(out: Out, path: str, operator: str, value: str) -> None:
    if operator in ("Equal", ""):
        if wrong := names.label_value(value):
            out.append(causes.invalid(f"{path}.operator", value, ";".join(wrong)))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            out.append(causes.invalid(f"{path}.operator", value, detail))
    else:
        out.append(causes.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))


def spread(out: Out, path: str, found: list[JSON]) -> None:
    """Check topology spread constraints."""
    pairs = [(each.get("topologyKey", ""), each.get("whenUnsatisfiable", "")) for each in found]
    last = {pair: index for index, pair in enumerate(pairs)}
    for index, constraint in enumerate(found):
        at, action = f"{path}[{index}]", constraint.get("whenUnsatisfiable", "")
        key, skew = constraint.get("topologyKey", ""), constraint.get("maxSkew", 0)
        if skew <= 0:
            out.append(causes.invalid(f"{at}.maxSkew", skew, "must be greater than zero"))
        if not key:
            out.append(causes.required(f"{at}.topologyKey", "can not be empty"))
        if action not in _ACTIONS:
            out.append(causes.unsupported(f"{at}.whenUnsatisfiable", action, _ACTIONS))
        if last[key, action] > index:
            field = f"{at}.{{topologyKey, whenUnsatisfiable}}"
            out.append(causes.duplicate(field, f"{{{key}, {action}}}"))
        _domains(out, at, constraint.get("minDomains"), action)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in _POLICIES:
                out.append(causes.unsupported(f"{at}.{field}", policy, _POLICIES))
        _match_keys(out, at, constraint)
        labels.selector(out, f"{at}.labelSelector", constraint.get("labelSelector"))


def _domains(out: Out, path: str, count: int | None, action: str) -> None:
    if count is None:
        return
    if count <= 0:
        out.append(causes.invalid(f"{path}.minDomains", count, "must be greater than zero"))
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        out.append(causes.invalid(f"{path}.minDomains", count, detail))
