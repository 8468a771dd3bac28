"""Rules of a resource claim's status: who uses it, what was allocated, and what drivers say about that."""

import ipaddress
from functools import partial
from typing import Any, Final

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import device_values as values
from kubelite.api.registry.rules.devices import RequestNames, request_names, request_reference
from kubelite.api.registry.rules.placement import node_selector
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    one_of,
    part,
)

_CONSUMERS_MAX: Final = 256
_RESULTS_MAX: Final = 32
_CONDITIONS_MAX: Final = 8
_ADDRESSES_MAX: Final = 16
_INTERFACE_MAX: Final = 256  # bytes
_HARDWARE_MAX: Final = 128  # bytes
_SOURCES: Final = ("FromClaim", "FromClass")
_ADDRESS: Final = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"

DeviceId = tuple[str, str, str, str]  # driver, pool, device, share


def resource_claim_status(new: JSON, old: JSON) -> Out:
    """Check a change of a ResourceClaim's status."""
    out = Out()
    status, before = part(new, "status"), part(old, "status")
    known = request_names(part(new, "spec", "devices"))
    users = items(status, "reservedFor")
    values.each_once(
        out, "status.reservedFor", users, _CONSUMERS_MAX, _user, lambda user: user.get("uid")
    )
    allocation = status.get("allocation")
    allocated = {_id(each) for each in items(part(status, "allocation", "devices"), "results")}
    devices = items(status, "devices")
    values.each_once(
        out, "status.devices", devices, None, partial(_device, allocated), lambda d: _shown(_id(d))
    )
    if users:
        _reservation(out, users, before, has_allocation=allocation is not None, claim=new)
    former = before.get("allocation")
    if allocation is not None and former is not None:
        immutable(out, "status.allocation", allocation, former)
    elif allocation is not None:
        _allocation(out, "status.allocation", allocation, known)
    return out


def _id(thing: JSON) -> DeviceId:
    driver, pool, device, share = (
        thing.get(field) or "" for field in ("driver", "pool", "device", "shareID")
    )
    return driver, pool, device, share


def _shown(found: DeviceId) -> str:
    return "/".join(filter(None, found))


def _user(out: Out, path: str, user: JSON) -> None:
    for field in ("resource", "name", "uid"):
        if not user.get(field):
            out.append(causes.required(f"{path}.{field}"))


def _reservation(
    out: Out, users: list[Any], before: JSON, *, has_allocation: bool, claim: JSON
) -> None:
    path = "status.reservedFor"
    if not has_allocation:
        problem = "may not be specified when `allocated` is not set"
        out.append(causes.forbidden(path, problem))
    elif part(claim, "metadata").get("deletionTimestamp"):
        former = items(before, "reservedFor")
        if any(user not in former for user in users):
            problem = (
                "new entries may not be added while `deallocationRequested` or "
                "`deletionTimestamp` are set"
            )
            out.append(causes.forbidden(path, problem))


def _allocation(out: Out, path: str, allocation: JSON, known: RequestNames) -> None:
    devices = part(allocation, "devices")
    reference = partial(request_reference, known)
    results, configs = items(devices, "results"), items(devices, "config")
    at = f"{path}.devices"
    values.each(out, f"{at}.results", results, _RESULTS_MAX, partial(_result, reference))
    most = 2 * values.CONFIGS_MAX  # of the class and of the claim
    values.each(out, f"{at}.config", configs, most, partial(_configuration, reference))
    if selector := allocation.get("nodeSelector"):
        node_selector(out, f"{path}.nodeSelector", selector)


def _result(reference: values.Check, out: Out, path: str, result: JSON) -> None:
    reference(out, f"{path}.request", result.get("request") or "")
    values.driver_name(out, f"{path}.driver", result.get("driver"))
    values.pool_name(out, f"{path}.pool", result.get("pool"))
    values.own_label(out, f"{path}.device", result.get("device"))
    values.binding_conditions(out, path, result)
    if (share := result.get("shareID")) is not None:
        values.uid(out, f"{path}.shareID", share)


def _configuration(reference: values.Check, out: Out, path: str, config: JSON) -> None:
    one_of(out, f"{path}.source", config.get("source"), _SOURCES)
    requests = items(config, "requests")
    values.each_once(out, f"{path}.requests", requests, values.REQUESTS_MAX, reference)
    values.configuration(out, path, config)


def _device(allocated: set[DeviceId], out: Out, path: str, device: JSON) -> None:
    values.driver_name(out, f"{path}.driver", device.get("driver"))
    values.pool_name(out, f"{path}.pool", device.get("pool"))
    values.own_label(out, f"{path}.device", device.get("device"))
    if (share := device.get("shareID")) is not None:
        values.uid(out, f"{path}.shareID", share)
    if (found := _id(device)) not in allocated:
        problem = "must be an allocated device in the claim"
        out.append(causes.invalid(path, _shown(found), problem))
    conditions = items(device, "conditions")
    if len(conditions) > _CONDITIONS_MAX:
        out.append(causes.too_many(f"{path}.conditions", len(conditions), _CONDITIONS_MAX))
    _conditions(out, f"{path}.conditions", conditions)
    if (data := device.get("data")) is not None:
        values.raw_object(out, f"{path}.data", data)
    if network := device.get("networkData"):
        _network(out, f"{path}.networkData", network)


def _conditions(out: Out, path: str, conditions: list[Any]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, kind = f"{path}[{index}]", condition.get("type") or ""
        if kind in seen:
            out.append(causes.duplicate(f"{at}.type", kind))
        seen.add(kind)
        format_check(out, f"{at}.type", kind, names.qualified_name)
        status = condition.get("status") or ""
        if status not in ("False", "True", "Unknown"):
            out.append(causes.unsupported(f"{at}.status", status, ("False", "True", "Unknown")))
        for field in ("lastTransitionTime", "reason"):
            if not condition.get(field):
                out.append(causes.required(f"{at}.{field}"))


def _network(out: Out, path: str, data: JSON) -> None:
    for field, most in (("interfaceName", _INTERFACE_MAX), ("hardwareAddress", _HARDWARE_MAX)):
        if len((data.get(field) or "").encode()) > most:
            out.append(causes.too_long(f"{path}.{field}", most))
    values.each_once(out, f"{path}.ips", items(data, "ips"), _ADDRESSES_MAX, _address)


def _address(out: Out, path: str, value: str) -> None:
    try:
        found = ipaddress.ip_interface(value) if "/" in value else None
    except ValueError:
        found = None
    if found is None:
        out.append(causes.invalid(path, value, _ADDRESS))
    elif (shown := f"{found.ip}/{found.network.prefixlen}") != value:
        problem = f"must be in canonical form ({causes.quoted(shown)})"
        out.append(causes.invalid(path, value, problem))
