"""Checks that claims, classes and slices of devices have in common: names, settings, sets, tolerations and taints."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import JSON, Out, format_check, one_of, required_format

Check = Callable[[Out, str, Any], None]

REQUESTS_MAX: Final = 32
CONFIGS_MAX: Final = 32
DRIVER_MAX: Final = 63  # bytes
_NAME_MAX: Final = 32
_POOL_MAX: Final = 253
_EFFECTS: Final = ("NoExecute", "NoSchedule", "None")
_OPERATORS: Final = ("Equal", "Exists")
_PARAMETERS_MAX: Final = 10 * 1024  # bytes
_OMITTED: Final = "<value omitted>"
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_UID_FORM: Final = (
    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` "
    "with lowercase hexadecimal characters"
)
_encode = msgspec.json.Encoder().encode


def each(out: Out, path: str, values: Sequence[Any], most: int | None, check: Check) -> bool:
    """Check each value; more than `most` are not visited. Return whether they were."""
    if most is not None and len(values) > most:
        out.append(causes.too_many(path, len(values), most))
        return False
    for index, value in enumerate(values):
        check(out, f"{path}[{index}]", value)
    return True


def each_once(
    out: Out,
    path: str,
    values: Sequence[Any],
    most: int | None,
    check: Check,
    key: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Check each value, and that no two have the same key."""
    if not each(out, path, values, most, check):
        return
    known: set[Any] = set()
    for index, value in enumerate(values):
        if (found := key(value)) in known:
            out.append(causes.duplicate(f"{path}[{index}]", found))
        known.add(found)


def name_of(value: JSON) -> str:
    """Return the name of an element, "" if it has none."""
    return value.get("name") or ""


def driver_name(out: Out, path: str, value: str | None) -> None:
    """Check the name of a driver: a subdomain of at most 63 bytes, in any case."""
    if not value:
        out.append(causes.required(path))
        return
    if len(value.encode()) > DRIVER_MAX:
        out.append(causes.too_long(path, DRIVER_MAX))
    for finding in names.dns_subdomain(value.lower()):
        out.append(causes.invalid(path, value, finding))


def pool_name(out: Out, path: str, value: str | None) -> None:
    """Check the name of a pool: subdomains with slashes between them."""
    if not value:
        out.append(causes.required(path))
        return
    if len(value.encode()) > _POOL_MAX:
        out.append(causes.too_long(path, _POOL_MAX))
    for step in value.split("/"):
        format_check(out, path, step, names.dns_subdomain)


def label_name(out: Out, path: str, value: str) -> None:
    """Check the key of a label."""
    format_check(out, path, value, names.qualified_name)


def own_label(out: Out, path: str, value: str | None) -> None:
    """Check the name of a request, device or counter."""
    format_check(out, path, value or "", names.dns_label)


def uid(out: Out, path: str, value: str) -> None:
    """Check a UID in its usual form."""
    if _UID(value):
        return
    plain = value.replace("-", "")
    if len(value) not in (32, 36, 38, 45):
        problem = f"error validating uid: invalid UUID length: {len(value)}"
    elif len(value) in (32, 36) and not re.fullmatch("[0-9a-fA-F]{32}", plain):
        problem = "error validating uid: invalid UUID format"
    else:
        problem = _UID_FORM
    out.append(causes.invalid(path, value, problem))


def qualified_name(out: Out, path: str, value: str) -> None:
    """Check the name of an attribute or a capacity, with or without a domain."""
    parts = value.split("/")
    if len(parts) > 2:  # which Kubernetes lets pass
        return
    if len(parts) == 2:
        if parts[0]:
            driver_name(out, path, parts[0])
        else:
            out.append(causes.invalid(path, "", "the domain must not be empty"))
        if not parts[1]:
            out.append(causes.invalid(path, "", "the name must not be empty"))
            return
    identifier = parts[-1]
    if len(identifier.encode()) > _NAME_MAX:
        out.append(causes.too_long(path, _NAME_MAX))
    format_check(out, path, identifier, names.c_identifier)


def full_name(out: Out, path: str, value: str) -> None:
    """Check the name of an attribute with its domain."""
    qualified_name(out, path, value)
    if "/" not in value:
        problem = "a fully qualified name must be a domain and a name separated by a slash"
        out.append(causes.invalid(path, value, problem))


def configuration(out: Out, path: str, value: JSON, *, is_stored: bool = False) -> None:
    """Check settings for a driver; those that are stored already may be longer than new ones."""
    opaque = value.get("opaque")
    if opaque is None:
        out.append(causes.required(f"{path}.opaque"))
        return
    driver_name(out, f"{path}.opaque.driver", opaque.get("driver"))
    raw_object(out, f"{path}.opaque.parameters", opaque.get("parameters"), is_stored=is_stored)


def raw_object(out: Out, path: str, value: Any, *, is_stored: bool = False) -> None:
    """Check an object of a driver's own: that it is one, and of a new one the length."""
    if value is None:
        out.append(causes.required(path))
    elif not is_stored and _length(value) > _PARAMETERS_MAX:
        out.append(causes.too_long(path, _PARAMETERS_MAX))
    elif not isinstance(value, dict):
        out.append(causes.invalid(path, _OMITTED, "must be a valid JSON object"))


def _length(value: Any) -> int:
    try:
        return len(_encode(value))
    except ValueError:  # an integer of more than 64 bits
        return len(json.dumps(value, separators=(",", ":")))


def taint(out: Out, path: str, value: JSON) -> None:
    """Check the taint of a device."""
    label_name(out, f"{path}.key", value.get("key") or "")
    if text := value.get("value"):
        format_check(out, f"{path}.value", text, names.label_value)
    one_of(out, f"{path}.effect", value.get("effect"), _EFFECTS)


def toleration(out: Out, path: str, value: JSON) -> None:
    """Check what a request tolerates."""
    if key := value.get("key"):
        label_name(out, f"{path}.key", key)
    text = value.get("value") or ""
    match value.get("operator"):
        case "Exists":
            if text:
                problem = "must be empty for operator `Exists`"
                out.append(causes.invalid(f"{path}.value", text, problem))
        case "Equal":
            format_check(out, f"{path}.value", text, names.label_value)
        case operator:
            one_of(out, f"{path}.operator", operator, _OPERATORS)
    one_of(out, f"{path}.effect", value.get("effect"), _EFFECTS, must=False)


def device_class(out: Out, path: str, value: str | None) -> None:
    """Check the name of the class that a request asks for."""
    required_format(out, path, value, names.dns_subdomain)


def binding_conditions(out: Out, path: str, value: JSON) -> None:
    """Check the conditions that a device waits for before its pod is bound."""
    wanted, failures = (
        value.get(f"binding{kind}") or [] for kind in ("Conditions", "FailureConditions")
    )
    good, bad = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    each(out, good, wanted, 4, label_name)
    each(out, bad, failures, 4, label_name)
    for at, conditions in ((good, wanted), (bad, failures)):
        known: set[str] = set()
        for index, condition in enumerate(conditions):
            if condition in known:
                out.append(causes.duplicate(f"{at}[{index}]", condition))
            known.add(condition)
            if at is bad and condition in wanted:
                problem = "bindingFailureConditions must not overlap with bindingConditions"
                out.append(causes.invalid(f"{at}[{index}]", condition, problem))
    if failures and not wanted:
        problem = "bindingConditions are required to use bindingFailureConditions"
        out.append(causes.invalid(good, wanted, problem))
    if wanted and not failures:
        problem = "bindingFailureConditions are required to use bindingConditions"
        out.append(causes.invalid(bad, failures, problem))
