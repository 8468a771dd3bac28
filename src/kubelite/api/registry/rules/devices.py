"""Rules of device classes, resource claims and resource slices."""

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    immutable,
    items,
    part,
    required_format,
)


def device_class(thing: JSON) -> Out:
    """Check a DeviceClass."""
    out = Out()
    spec = part(thing, "spec")
    selectors = items(spec, "selectors")
    if len(selectors) > 32:
        out.append(causes.too_many("spec.selectors", len(selectors), 32))
    for index, selector in enumerate(selectors):
        if not part(selector, "cel").get("expression"):
            out.append(causes.required(f"spec.selectors[{index}].cel.expression"))
    return out


def resource_claim(thing: JSON) -> Out:
    """Check a ResourceClaim."""
    out = Out()
    _devices(out, "spec.devices", part(thing, "spec", "devices"))
    return out


def resource_claim_template(thing: JSON) -> Out:
    """Check a ResourceClaimTemplate."""
    out = Out()
    _devices(out, "spec.spec.devices", part(thing, "spec", "spec", "devices"))
    return out


def _devices(out: Out, path: str, devices: JSON) -> None:
    seen: set[str] = set()
    found = items(devices, "requests")
    if len(found) > 32:
        out.append(causes.too_many(f"{path}.requests", len(found), 32))
    for index, request in enumerate(found):
        at, name = f"{path}.requests[{index}]", request.get("name", "")
        required_format(out, f"{at}.name", name, names.dns_label)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        exactly, first = request.get("exactly"), request.get("firstAvailable")
        if not exactly and not first:
            detail = "exactly one of `exactly` or `firstAvailable` is required"
            out.append(causes.required(at, detail))
        elif exactly and first:
            detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
            out.append(causes.invalid(at, None, detail))
        elif exactly:
            at = f"{at}.exactly.deviceClassName"
            required_format(out, at, exactly.get("deviceClassName"), names.dns_subdomain)


def fixed_spec(new: JSON, old: JSON) -> Out:
    """Check a change of a kind whose spec is immutable."""
    out = Out()
    immutable(out, "spec", part(new, "spec"), part(old, "spec"))
    return out


def resource_slice(thing: JSON) -> Out:
    """Check a ResourceSlice."""
    out = Out()
    spec = part(thing, "spec")
    required_format(out, "spec.driver", spec.get("driver"), names.dns_subdomain)
    if not part(spec, "pool").get("name"):
        out.append(causes.required("spec.pool.name"))
    places = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
    told = [place for place in places if spec.get(place)]
    listed = ", ".join(f"`{place}`" for place in places)
    if not told:
        out.append(causes.required("spec", f"exactly one of {listed} is required"))
    elif len(told) > 1:
        detail = f"exactly one of {listed} is required, but multiple fields are set"
        out.append(causes.invalid("spec", {place: spec[place] for place in told}, detail))
    found = items(spec, "devices")
    if len(found) > 128:
        out.append(causes.too_many("spec.devices", len(found), 128))
    seen: set[str] = set()
    for index, device in enumerate(found):
        at, name = f"spec.devices[{index}]", device.get("name", "")
        required_format(out, f"{at}.name", name, names.dns_label)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
    return out


def resource_slice_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ResourceSlice; its driver, pool name and node are immutable."""
    out = resource_slice(new)
    after, before = part(new, "spec"), part(old, "spec")
    for field in ("driver", "nodeName"):
        immutable(out, f"spec.{field}", after.get(field), before.get(field))
    pool = part(after, "pool").get("name")
    immutable(out, "spec.pool.name", pool, part(before, "pool").get("name"))
    return out
