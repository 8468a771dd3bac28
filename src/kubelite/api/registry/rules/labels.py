"""Rules of labels and label selectors."""

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import JSON, Out, items

_IN_NEEDS = "must be specified when `operator` is 'In' or 'NotIn'"
_EXISTS_FORBIDS = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"


def labels(out: Out, path: str, values: JSON | None) -> None:
    """Check keys and values of labels."""
    if not values:
        return
    for key, value in values.items():
        label_key(out, path, key)
        for finding in names.label_value(value):
            out.append(causes.invalid(path, value, finding))


def label_key(out: Out, path: str, key: str) -> None:
    """Check a label's key."""
    for finding in names.qualified_name(key):
        out.append(causes.invalid(path, key, finding))


def selector(out: Out, path: str, value: JSON | None) -> None:
    """Check a LabelSelector."""
    if not value:
        return
    labels(out, f"{path}.matchLabels", value.get("matchLabels"))
    for index, expression in enumerate(items(value, "matchExpressions")):
        _expression(out, f"{path}.matchExpressions[{index}]", expression)


def _expression(out: Out, path: str, expression: JSON) -> None:
    operator, values = expression.get("operator", ""), items(expression, "values")
    if operator in ("In", "NotIn"):
        if not values:
            out.append(causes.required(f"{path}.values", _IN_NEEDS))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            out.append(causes.forbidden(f"{path}.values", _EXISTS_FORBIDS))
    else:
        wrong = "not a valid selector operator"
        out.append(causes.invalid(f"{path}.operator", operator, wrong))
    label_key(out, f"{path}.key", expression.get("key", ""))
    for index, each in enumerate(values):
        for finding in names.label_value(each):
            out.append(causes.invalid(f"{path}.values[{index}]", each, finding))


def is_empty_selector(value: JSON | None) -> bool:
    """Return whether a LabelSelector has no requirements."""
    return not value or not (value.get("matchLabels") or value.get("matchExpressions"))
