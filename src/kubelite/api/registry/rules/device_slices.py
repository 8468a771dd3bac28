"""Rules of resource slices: the devices of a pool, their attributes, capacities and counters, and where they are."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import Quantity, parse_quantity
from kubelite.api.registry.rules import device_values as values
from kubelite.api.registry.rules import resources
from kubelite.api.registry.rules.placement import node_selector
from kubelite.api.registry.rules.values import JSON, Out, format_check, immutable, items, part

_DEVICES_MAX: Final = 128
_SPECIAL_DEVICES_MAX: Final = 64  # if one has taints, uses counters, or has lists as attributes
_COUNTER_SETS_MAX: Final = 8
_COUNTERS_MAX: Final = 32
_CONSUMPTIONS_MAX: Final = 2
_ROWS_MAX: Final = 32  # attributes and capacities of a device
_ATTRIBUTE_VALUES_MAX: Final = 48
_VALUE_MAX: Final = 64  # bytes of an attribute
_TAINTS_MAX: Final = 16
_OPTIONS_MAX: Final = 10
_KEY_MAX: Final = 96  # bytes of the key of an attribute that an error shows
_SCALARS: Final = ("bool", "int", "string", "version")
_LISTS: Final = ("bools", "ints", "strings", "versions")
_UNSET_OR_TRUE: Final = "must be either unset or set to true"
_PLACES: Final = (
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
)
_DEVICE_PLACES: Final = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
    "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
_NUMBER: Final = r"(0|[1-9][0-9]*)"
_PRERELEASE: Final = r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD: Final = r"[0-9a-zA-Z-]+"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+{_BUILD}(\.{_BUILD})*)?"
).fullmatch


def resource_slice(thing: JSON) -> Out:
    """Check a ResourceSlice."""
    return _slice(thing, {})


def resource_slice_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ResourceSlice; its driver, pool name and node are immutable."""
    return _slice(new, old)


def _slice(new: JSON, old: JSON) -> Out:
    out = Out()
    spec, before = part(new, "spec"), part(old, "spec")
    values.driver_name(out, "spec.driver", spec.get("driver"))
    _pool(out, part(spec, "pool"))
    if old:
        pool, former = part(spec, "pool").get("name"), part(before, "pool").get("name")
        immutable(out, "spec.pool.name", pool, former)
        for field in ("driver", "nodeName"):
            immutable(out, f"spec.{field}", spec.get(field), before.get(field))
    _place(out, spec)
    devices, counters = spec.get("devices"), spec.get("sharedCounters")
    if devices is not None and counters is not None:
        problem = "only one of `sharedCounters` or `devices` is allowed"
        out.append(causes.invalid("spec", "", problem))
    known = {values.name_of(device): device for device in items(before, "devices")}
    check = partial(_device, known, bool(spec.get("perDeviceNodeSelection")))
    most = _SPECIAL_DEVICES_MAX if any(map(_is_special, devices or ())) else _DEVICES_MAX
    values.each_once(out, "spec.devices", devices or [], most, check, values.name_of)
    values.each_once(
        out,
        "spec.sharedCounters",
        counters or [],
        _COUNTER_SETS_MAX,
        partial(_counters, "name"),
        values.name_of,
    )
    return out


def _pool(out: Out, pool: JSON) -> None:
    values.pool_name(out, "spec.pool.name", pool.get("name"))
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        problem = "must be greater than zero"
        out.append(causes.invalid("spec.pool.resourceSliceCount", count, problem))
    if generation < 0:
        problem = "must be greater than or equal to zero"
        out.append(causes.invalid("spec.pool.generation", generation, problem))


def _is_special(device: JSON) -> bool:
    return bool(device.get("taints") or device.get("consumesCounters")) or any(
        attribute.get(field) is not None
        for attribute in part(device, "attributes").values()
        for field in _LISTS
    )


def _place(out: Out, spec: JSON) -> None:
    """Check that a slice says in one way where its devices are."""
    told = _nodes(out, "spec", spec, "must be either unset or set to a non-empty string")
    terms = items(part(spec, "nodeSelector"), "nodeSelectorTerms")
    if spec.get("nodeSelector") is not None and len(terms) != 1:
        problem = "must have exactly one node selector term"
        out.append(causes.invalid("spec.nodeSelector.nodeSelectorTerms", terms, problem))
    told += _flag(out, "spec", spec, "perDeviceNodeSelection")
    if not told:
        out.append(causes.required("spec", _PLACES))
    elif len(told) > 1:
        shown = f"{{{', '.join(told)}}}"
        problem = f"{_PLACES}, but multiple fields are set"
        out.append(causes.invalid("spec", shown, problem))


def _nodes(out: Out, path: str, thing: JSON, empty: str) -> list[str]:
    """Check the nodes of a slice or a device; return the fields that name them."""
    told = []
    name = thing.get("nodeName")
    if name:
        told.append("`nodeName`")
        format_check(out, f"{path}.nodeName", name, names.dns_subdomain)
    elif name is not None:
        out.append(causes.invalid(f"{path}.nodeName", name, empty))
    if (selector := thing.get("nodeSelector")) is not None:
        told.append("`nodeSelector`")
        node_selector(out, f"{path}.nodeSelector", selector)
    return told + _flag(out, path, thing, "allNodes")


def _flag(out: Out, path: str, thing: JSON, field: str) -> list[str]:
    value = thing.get(field)
    if value is False:
        out.append(causes.invalid(f"{path}.{field}", value, _UNSET_OR_TRUE))
    return [f"`{field}`"] if value else []


def _counters(field: str, out: Out, path: str, counters: JSON) -> None:
    """Check a set of counters, or what a device takes of one; `field` has the name of the set."""
    name = counters.get(field)
    if name:
        values.own_label(out, f"{path}.{field}", name)
    else:
        out.append(causes.required(f"{path}.{field}"))
    amounts, at = part(counters, "counters"), f"{path}.counters"
    if not amounts:
        out.append(causes.required(at))
    elif len(amounts) > _COUNTERS_MAX:
        out.append(causes.too_many(at, len(amounts), _COUNTERS_MAX))
    else:
        for key in amounts:
            values.own_label(out, at, key)


def _device(
    former: dict[str, JSON], selects_nodes: bool, out: Out, path: str, device: JSON
) -> None:
    values.own_label(out, f"{path}.name", device.get("name"))
    attributes, capacity = part(device, "attributes"), part(device, "capacity")
    if (count := len(attributes) + len(capacity)) > _ROWS_MAX:
        problem = f"the total number of attributes and capacities must not exceed {_ROWS_MAX}"
        out.append(causes.invalid(path, count, problem))
    if (count := sum(map(_value_count, attributes.values()))) > _ATTRIBUTE_VALUES_MAX:
        problem = f"the total number of attribute values must not exceed {_ATTRIBUTE_VALUES_MAX}"
        out.append(causes.invalid(path, count, problem))
    for name, attribute in attributes.items():
        values.qualified_name(out, f"{path}.attributes", name)
        _attribute(out, f"{path}.attributes[{_key(name)}]", attribute)
    for name, amount in capacity.items():
        values.qualified_name(out, f"{path}.capacity", name)
        _capacity(
            out,
            f"{path}.capacity[{_key(name)}]",
            amount,
            bool(device.get("allowMultipleAllocations")),
        )
    taints = items(device, "taints")
    before = former.get(values.name_of(device))
    if before is None or taints != items(before, "taints"):
        values.each(out, f"{path}.taints", taints, _TAINTS_MAX, values.taint)
    values.each_once(
        out,
        f"{path}.consumesCounters",
        items(device, "consumesCounters"),
        _CONSUMPTIONS_MAX,
        partial(_counters, "counterSet"),
        lambda each: each.get("counterSet") or "",
    )
    _device_nodes(out, path, device, selects_nodes=selects_nodes)
    values.binding_conditions(out, path, device)
    _node_resources(out, f"{path}.nodeAllocatableResourceMappings", device, capacity)


def _key(name: str) -> str:
    """Return a key as paths show it: a long one without its middle."""
    if len(name) <= _KEY_MAX:
        return name
    rest = _KEY_MAX - 3
    return f"{name[: (rest + 1) // 2]}...{name[len(name) - rest // 2 :]}"


def _value_count(attribute: JSON) -> int:
    return sum(len(items(attribute, field)) for field in _LISTS) or 1


def _attribute(out: Out, path: str, attribute: JSON) -> None:
    told = [field for field in (*_SCALARS, *_LISTS) if attribute.get(field) is not None]
    for field in told:
        value = attribute[field]
        if field in _SCALARS:
            _text(out, f"{path}.{field}", field, value)
        elif not value:
            out.append(causes.invalid(f"{path}.{field}", value, "must not be empty if specified"))
        else:
            for index, one in enumerate(value):
                _text(out, f"{path}.{field}[{index}]", field[:-1], one)
    if len(told) != 1:
        shown = attribute if told else ""
        out.append(causes.invalid(path, shown, "exactly one value must be specified"))


def _text(out: Out, path: str, field: str, value: Any) -> None:
    """Check a value of an attribute that is a text or a version."""
    if field not in ("string", "version"):
        return
    if field == "version" and not _VERSION(value):
        problem = "must be a string compatible with semver.org spec 2.0.0"
        out.append(causes.invalid(path, value, problem))
    if len(value.encode()) > _VALUE_MAX:
        out.append(causes.too_long(path, _VALUE_MAX))


def _device_nodes(out: Out, path: str, device: JSON, *, selects_nodes: bool) -> None:
    if selects_nodes:
        told = _nodes(out, path, device, "must not be empty")
        if not told:
            out.append(causes.required(path, _DEVICE_PLACES))
        elif len(told) > 1:
            out.append(causes.invalid(path, f"{{{', '.join(told)}}}", _DEVICE_PLACES))
    elif any(device.get(field) is not None for field in ("nodeName", "nodeSelector", "allNodes")):
        problem = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` "
            "is set to true in the ResourceSlice spec"
        )
        out.append(causes.invalid(path, None, problem))


def _node_resources(out: Out, path: str, device: JSON, capacity: JSON) -> None:
    for name, mapping in part(device, "nodeAllocatableResourceMappings").items():
        at = f"{path}[{name}]"
        if not resources.is_native(name):
            problem = "must be a node allocatable resource name"
            out.append(causes.invalid(at, name, problem))
        factor, key = mapping.get("allocationMultiplier"), mapping.get("capacityKey")
        if factor is None and key is None:
            problem = "at least one of allocationMultiplier or capacityKey must be set"
            out.append(causes.invalid(at, "", problem))
        if factor is not None and parse_quantity(factor).amount <= 0:
            out.append(causes.invalid(f"{at}.allocationMultiplier", factor, "must be positive"))
        if key == "":
            problem = "capacityKey must not be an empty string"
            out.append(causes.invalid(f"{at}.capacityKey", "", problem))
        elif key is not None and key not in capacity:
            out.append(causes.not_found(f"{at}.capacityKey", key))


# how much of a capacity may be requested


def _capacity(out: Out, path: str, capacity: JSON, is_shared: bool) -> None:
    policy = capacity.get("requestPolicy")
    if policy is None:
        return
    at = f"{path}.requestPolicy"
    if not is_shared:
        out.append(causes.forbidden(at, "allowMultipleAllocations must be true"))
        return
    options, bounds = items(policy, "validValues"), policy.get("validRange")
    if options and bounds is not None:
        problem = (
            'exactly one policy can be specified, cannot specify "validValues" and "validRange" '
            "at the same time"
        )
        out.append(causes.forbidden(at, problem))
        return
    field = "validValues" if options else "validRange" if bounds is not None else ""
    if not field:
        return
    usual = policy.get("default")
    if usual is None:
        out.append(causes.required(f"{at}.default", f"required when {field} is defined"))
        return
    most, default = parse_quantity(capacity.get("value") or "0"), parse_quantity(usual)
    if options:
        _options(out, f"{at}.validValues", [*map(parse_quantity, options)], default, most)
    else:
        _range(out, f"{at}.validRange", part(policy, "validRange"), default, most)


def _options(
    out: Out, path: str, options: Sequence[Quantity], default: Quantity, most: Quantity
) -> None:
    for index, (one, following) in enumerate(pairwise(options), 1):
        if one > following:
            problem = "values must be sorted in ascending order"
            out.append(causes.invalid(f"{path}[{index}]", str(following), problem))

    def check(out: Out, at: str, option: Quantity) -> None:
        if option > most:
            problem = f"option is larger than capacity value: {most}"
            out.append(causes.invalid(at, str(option), problem))

    values.each_once(out, path, options, _OPTIONS_MAX, check, lambda option: str(option.value()))
    if len(options) > _OPTIONS_MAX or default not in options:
        problem = "default value is not valid according to the requestPolicy"
        out.append(causes.invalid(path, str(default), problem))


def _range(out: Out, path: str, bounds: JSON, default: Quantity, most: Quantity) -> None:
    low, high, step = (
        None if bounds.get(field) is None else parse_quantity(bounds[field])
        for field in ("min", "max", "step")
    )
    if low is None:
        out.append(causes.required(f"{path}.min", "required when validRange is defined"))
        return
    _least(out, f"{path}.min", low, default, most)
    if high is not None:
        _most(out, f"{path}.max", low, high, default, most)
    if step is not None:
        _step(out, f"{path}.step", low, step, [default] if high is None else [default, high], most)


def _least(out: Out, path: str, low: Quantity, default: Quantity, most: Quantity) -> None:
    if low > most:
        out.append(_wrong(path, low, f"min is larger than capacity value: {most}"))
    if default < low:
        out.append(_wrong(path, default, f"default is less than min: {low}"))


def _most(
    out: Out, path: str, low: Quantity, high: Quantity, default: Quantity, most: Quantity
) -> None:
    if low > high:
        out.append(_wrong(path, low, f"min is larger than max: {high}"))
    if high > most:
        out.append(_wrong(path, high, f"max is larger than capacity value: {most}"))
    if default > high:
        out.append(_wrong(path, default, f"default is more than max: {high}"))


def _step(
    out: Out,
    path: str,
    low: Quantity,
    step: Quantity,
    reached: Sequence[Quantity],
    most: Quantity,
) -> None:
    if (after := low + step) > most:
        problem = f"one step {after} is larger than capacity value: {most}"
        out.append(_wrong(path, step, problem))
    for value in reached:
        if not _is_step(value, low, step):
            problem = f"value is not a multiple of a given step ({step}) from ({low})"
            out.append(_wrong(path, value, problem))


def _wrong(path: str, value: Quantity, problem: str) -> Cause:
    return causes.invalid(path, str(value), problem)


def _is_step(value: Quantity, low: Quantity, step: Quantity) -> bool:
    """Return whether whole steps lead from one amount to another; of a step of nothing none does."""
    size = step.value()
    return size != 0 and (value.value() - low.value()) % size == 0
