"""Rules of device classes, resource claims and their templates: requests, selectors, constraints and settings."""

from functools import partial
from typing import Final

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes
from kubelite.api.registry.rules import device_values as values
from kubelite.api.registry.rules import resources
from kubelite.api.registry.rules.labels import labels
from kubelite.api.registry.rules.metadata import annotations
from kubelite.api.registry.rules.values import JSON, Out, immutable, items, one_of, part
from kubelite.limits import SELECTOR_COST, SELECTOR_LENGTH

_SELECTORS_MAX: Final = 32
_ALTERNATIVES_MAX: Final = 8
_CONSTRAINTS_MAX: Final = 32
_MODES: Final = ("All", "ExactCount")
_UNION: Final = "exactly one of `exactly` or `firstAvailable` is required"
_REFERENCE: Final = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)

RequestNames = dict[str, frozenset[str]]  # the alternatives of each request


def device_class(thing: JSON) -> Out:
    """Check a DeviceClass."""
    return device_class_update(thing, {})


def device_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of a DeviceClass; settings that do not change may be longer than new ones."""
    out = Out()
    spec = part(new, "spec")
    _selectors(out, "spec.selectors", spec)
    configs = items(spec, "config")
    is_stored = bool(old) and configs == items(part(old, "spec"), "config")
    check = partial(values.configuration, is_stored=is_stored)
    values.each(out, "spec.config", configs, values.CONFIGS_MAX, check)
    name = spec.get("extendedResourceName")
    if name is not None and not resources.is_extended(name):
        problem = "must be a valid extended resource name"
        out.append(causes.invalid("spec.extendedResourceName", name, problem))
    return out


def resource_claim(thing: JSON) -> Out:
    """Check a ResourceClaim."""
    out = Out()
    _devices(out, "spec.devices", part(thing, "spec", "devices"))
    return out


def resource_claim_template(thing: JSON) -> Out:
    """Check a ResourceClaimTemplate."""
    out = Out()
    metadata = part(thing, "spec", "metadata")
    labels(out, "spec.metadata.labels", metadata.get("labels"))
    annotations(out, "spec.metadata.annotations", metadata.get("annotations"))
    _devices(out, "spec.spec.devices", part(thing, "spec", "spec", "devices"))
    return out


def fixed_spec(new: JSON, old: JSON) -> Out:
    """Check a change of a kind whose spec is immutable."""
    out = Out()
    immutable(out, "spec", part(new, "spec"), part(old, "spec"))
    return out


def request_names(devices: JSON) -> RequestNames:
    """Return the names of a claim's requests and of their alternatives."""
    return {
        values.name_of(request): frozenset(map(values.name_of, items(request, "firstAvailable")))
        for request in items(devices, "requests")
    }


def request_reference(known: RequestNames, out: Out, path: str, name: str) -> None:
    """Check that something is about a request of the claim, or about one of its alternatives."""
    steps = name.split("/")
    if len(steps) > 2:
        out.append(causes.invalid(path, name, _REFERENCE))
        return
    for step in steps:
        values.own_label(out, path, step)
    alternatives = known.get(steps[0])
    if alternatives is None or (len(steps) == 2 and steps[1] not in alternatives):
        out.append(causes.invalid(path, name, _REFERENCE))


def _devices(out: Out, path: str, devices: JSON) -> None:
    known = request_names(devices)
    reference = partial(request_reference, known)
    values.each_once(
        out,
        f"{path}.requests",
        items(devices, "requests"),
        values.REQUESTS_MAX,
        _request,
        values.name_of,
    )
    values.each(
        out,
        f"{path}.constraints",
        items(devices, "constraints"),
        _CONSTRAINTS_MAX,
        partial(_constraint, reference),
    )
    values.each(
        out,
        f"{path}.config",
        items(devices, "config"),
        values.CONFIGS_MAX,
        partial(_configuration, reference),
    )


def _request(out: Out, path: str, request: JSON) -> None:
    values.own_label(out, f"{path}.name", request.get("name"))
    exactly, alternatives = request.get("exactly"), items(request, "firstAvailable")
    if alternatives and exactly is not None:
        out.append(causes.invalid(path, None, f"{_UNION}, but multiple fields are set"))
    elif alternatives:
        values.each_once(
            out,
            f"{path}.firstAvailable",
            alternatives,
            _ALTERNATIVES_MAX,
            _alternative,
            values.name_of,
        )
    elif exactly is None:
        out.append(causes.required(path, _UNION))
    else:
        _wanted(out, f"{path}.exactly", exactly)


def _alternative(out: Out, path: str, request: JSON) -> None:
    values.own_label(out, f"{path}.name", request.get("name"))
    _wanted(out, path, request)


def _wanted(out: Out, path: str, request: JSON) -> None:
    values.device_class(out, f"{path}.deviceClassName", request.get("deviceClassName"))
    _selectors(out, f"{path}.selectors", request)
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All":
        if count:
            problem = "must not be specified when allocationMode is 'All'"
            out.append(causes.invalid(f"{path}.count", count, problem))
    elif mode == "ExactCount":
        if count <= 0:
            out.append(causes.invalid(f"{path}.count", count, "must be greater than zero"))
    elif mode:
        one_of(out, f"{path}.allocationMode", mode, _MODES)
    else:
        out.append(causes.unsupported(f"{path}.allocationMode", mode, _MODES))
    tolerations = items(request, "tolerations")
    values.each(out, f"{path}.tolerations", tolerations, None, values.toleration)


def _constraint(reference: values.Check, out: Out, path: str, constraint: JSON) -> None:
    requests = items(constraint, "requests")
    values.each_once(out, f"{path}.requests", requests, values.REQUESTS_MAX, reference)
    for field in ("matchAttribute", "distinctAttribute"):
        if (name := constraint.get(field)) is not None:
            values.full_name(out, f"{path}.{field}", name)
            return
    problem = (
        'exactly one of "matchAttribute" or "distinctAttribute" is required, '
        "but multiple fields are set"  # though none is: so it is worded
    )
    out.append(causes.required(path, problem))


def _configuration(reference: values.Check, out: Out, path: str, config: JSON) -> None:
    requests = items(config, "requests")
    values.each_once(out, f"{path}.requests", requests, values.REQUESTS_MAX, reference)
    values.configuration(out, path, config)


def _selectors(out: Out, path: str, thing: JSON) -> None:
    """Check the selectors of a class or a request."""
    values.each(out, path, items(thing, "selectors"), _SELECTORS_MAX, _selector)


def _selector(out: Out, path: str, selector: JSON) -> None:
    cel = selector.get("cel")
    if cel is None:
        out.append(causes.required(f"{path}.cel"))
        return
    at, text = f"{path}.cel.expression", cel.get("expression") or ""
    if len(text.encode()) > SELECTOR_LENGTH.value:
        SELECTOR_LENGTH.reached()
        out.append(causes.too_long(at, SELECTOR_LENGTH.value))
    elif cause := _problem(at, text):
        out.append(cause)


def _problem(path: str, text: str) -> Cause | None:
    from kubelite.api.machinery import device_selectors

    found = device_selectors.compiled(text)
    if found.is_internal:
        return Cause(path, "InternalError", f"Internal error: {found.error}")
    if found.error:
        return causes.invalid(path, text, found.error)
    if found.cost > SELECTOR_COST.value:
        SELECTOR_COST.reached()
        return causes.forbidden(path, "too complex, exceeds cost limit")
    return None
