"""Rules of Ingresses, their classes, NetworkPolicies and the address kinds."""

import ipaddress

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.ip_formats import address, address_range, is_address
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    one_of,
    part,
    required_format,
)

_PATH_TYPES = enums.PATH_TYPES.enum
_PATH_PARTS, _PATH_ENDS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_CONTROLLER_MAX = 250
_NOT_ADDRESS = "must be a DNS name, not an IP address"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def ingress(thing: JSON) -> Out:
    """Check an Ingress that is to be created."""
    out = ingress_spec(thing)
    told = part(thing, "metadata", "annotations").get(_CLASS_ANNOTATION)
    name = part(thing, "spec").get("ingressClassName")
    if told is not None and name is not None and told != name:
        detail = "must match `ingressClassName` when both are specified"
        out.append(causes.invalid(f"annotations.{_CLASS_ANNOTATION}", told, detail))
    return out


def ingress_update(new: JSON, _old: JSON) -> Out:
    """Check a change of an Ingress."""
    return ingress_spec(new)


def ingress_spec(thing: JSON) -> Out:
    """Check the spec of an Ingress."""
    out = Out()
    spec = part(thing, "spec")
    rules, default = items(spec, "rules"), spec.get("defaultBackend")
    if not rules and default is None:
        detail = "either `defaultBackend` or `rules` must be specified"
        out.append(causes.invalid("spec", rules, detail))
    if default is not None:
        _backend(out, "spec.defaultBackend", default)
    for index, rule in enumerate(rules):
        _rule(out, f"spec.rules[{index}]", rule)
    for index, tls in enumerate(items(spec, "tls")):
        for position, host in enumerate(items(tls, "hosts")):
            _host(out, f"spec.tls[{index}].hosts[{position}]", host)
        if secret := tls.get("secretName"):
            format_check(out, f"spec.tls[{index}].secretName", secret, names.dns_subdomain)
    if name := spec.get("ingressClassName"):
        format_check(out, "spec.ingressClassName", name, names.dns_subdomain)
    return out


def _host(out: Out, path: str, host: str) -> None:
    format_check(out, path, host, names.wildcard_subdomain if "*" in host else names.dns_subdomain)


def _rule(out: Out, path: str, rule: JSON) -> None:
    if host := rule.get("host"):
        if is_address(host):
            out.append(causes.invalid(f"{path}.host", host, _NOT_ADDRESS))
        _host(out, f"{path}.host", host)
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        out.append(causes.required(f"{path}.http.paths"))
    for index, route in enumerate(items(http, "paths")):
        _route(out, f"{path}.http.paths[{index}]", route)


def _route(out: Out, path: str, route: JSON) -> None:
    kind, text = route.get("pathType"), route.get("path", "")
    if kind is None:
        out.append(causes.required(f"{path}.pathType", "pathType must be specified"))
        return
    if kind not in _PATH_TYPES:
        out.append(causes.unsupported(f"{path}.pathType", kind, _PATH_TYPES))
    elif (text or kind != "ImplementationSpecific") and not text.startswith("/"):
        out.append(causes.invalid(f"{path}.path", text, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        for bad in _PATH_PARTS:
            if bad in text:
                out.append(causes.invalid(f"{path}.path", text, f"must not contain '{bad}'"))
        for bad in _PATH_ENDS:
            if text.endswith(bad):
                out.append(causes.invalid(f"{path}.path", text, f"cannot end with '{bad}'"))
    _backend(out, f"{path}.backend", part(route, "backend"))


def _backend(out: Out, path: str, backend: JSON) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        detail = "cannot set both resource and service backends"
        out.append(causes.invalid(path, "", detail))
    elif resource is not None:
        _reference(out, f"{path}.resource", resource)
    elif service is None:
        detail = "resource or service backend is required"
        out.append(causes.invalid(path, "", detail))
    else:
        required_format(out, f"{path}.service.name", service.get("name"), names.dns_label)
        port = part(service, "port")
        name, number = port.get("name"), port.get("number")
        if name and number:
            out.append(causes.invalid(path, "", "cannot set both port name & port number"))
        elif name:
            format_check(out, f"{path}.service.port.name", name, names.port_name)
        elif number:
            for finding in names.port_number(number):
                out.append(causes.invalid(f"{path}.service.port.number", number, finding))
        else:
            out.append(causes.required(path, "port name or number is required"))


def _reference(out: Out, path: str, reference: JSON) -> None:
    if group := reference.get("apiGroup"):
        format_check(out, f"{path}.apiGroup", group, names.dns_subdomain)
    for field in ("kind", "name"):
        required_format(out, f"{path}.{field}", reference.get(field), names.path_segment)


def ingress_status(new: JSON, _old: JSON) -> Out:
    """Check the load balancer status of an Ingress."""
    out = Out()
    for index, point in enumerate(items(part(new, "status", "loadBalancer"), "ingress")):
        at = f"status.loadBalancer.ingress[{index}]"
        if text := point.get("ip"):
            address(out, f"{at}.ip", text)
        if host := point.get("hostname"):
            format_check(out, f"{at}.hostname", host, names.dns_subdomain)
            if is_address(host):
                out.append(causes.invalid(f"{at}.hostname", host, _NOT_ADDRESS))
    return out


def ingress_class(thing: JSON) -> Out:
    """Check an IngressClass."""
    out = Out()
    spec = part(thing, "spec")
    controller = spec.get("controller", "")
    if len(controller) > _CONTROLLER_MAX:
        out.append(causes.too_long("spec.controller", _CONTROLLER_MAX))
    required_format(out, "spec.controller", controller, names.domain_prefixed_path)
    parameters = spec.get("parameters")
    if parameters is None:
        return out
    path = "spec.parameters"
    _reference(out, path, parameters)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    one_of(out, f"{path}.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace":
        if not namespace:
            detail = "`parameters.scope` is set to 'Namespace'"
            out.append(causes.required(f"{path}.namespace", detail))
        else:
            format_check(out, f"{path}.namespace", namespace, names.dns_label)
    elif scope == "Cluster" and namespace is not None:
        detail = "`parameters.scope` is set to 'Cluster'"
        out.append(causes.forbidden(f"{path}.namespace", detail))
    return out


def ingress_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of an IngressClass; its controller is immutable."""
    out = ingress_class(new)
    controller = part(new, "spec").get("controller")
    immutable(out, "spec.controller", controller, part(old, "spec").get("controller"))
    return out


def policy(thing: JSON) -> Out:
    """Check a NetworkPolicy."""
    out = Out()
    spec = part(thing, "spec")
    labels.selector(out, "spec.podSelector", spec.get("podSelector"))
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(items(spec, direction)):
            at = f"spec.{direction}[{index}]"
            for position, port in enumerate(items(rule, "ports")):
                _policy_port(out, f"{at}.ports[{position}]", port)
            for position, peer in enumerate(items(rule, side)):
                _peer(out, f"{at}.{side}[{position}]", peer)
    types = items(spec, "policyTypes")
    if len(types) > 2:
        detail = "may not specify more than two policyTypes"
        out.append(causes.invalid("spec.policyTypes", types, detail))
        return out
    for index, kind in enumerate(types):
        one_of(out, f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress"))
    return out


def _policy_port(out: Out, path: str, port: JSON) -> None:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        out.append(causes.unsupported(f"{path}.protocol", protocol, _PROTOCOLS))
    if isinstance(number, int):
        for finding in names.port_number(number):
            out.append(causes.invalid(f"{path}.port", number, finding))
        if end is not None:
            if end < number:
                detail = "must be greater than or equal to `port`"
                out.append(causes.invalid(f"{path}.endPort", number, detail))
            for finding in names.port_number(end):
                out.append(causes.invalid(f"{path}.endPort", end, finding))
        return
    if end is not None:
        kind = "not specified" if number is None else "non-numeric"
        detail = f"may not be specified when `port` is {kind}"
        out.append(causes.invalid(f"{path}.endPort", end, detail))
    if number is not None:
        format_check(out, f"{path}.port", number, names.port_name)


def _peer(out: Out, path: str, peer: JSON) -> None:
    told = [
        key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None
    ]
    for field in ("podSelector", "namespaceSelector"):
        labels.selector(out, f"{path}.{field}", peer.get(field))
    if (block := peer.get("ipBlock")) is not None:
        _block(out, f"{path}.ipBlock", block)
    if not told:
        out.append(causes.required(path, "must specify a peer"))
    elif len(told) > 1 and block is not None:
        out.append(causes.forbidden(path, "may not specify both ipBlock and another peer"))


def _block(out: Out, path: str, block: JSON) -> None:
    text = block.get("cidr", "")
    if not text:
        out.append(causes.required(f"{path}.cidr"))
        return
    before = len(out)
    address_range(out, f"{path}.cidr", text)
    if len(out) > before:
        return
    whole = ipaddress.ip_network(text, strict=False)
    for index, each in enumerate(items(block, "except")):
        at, before = f"{path}.except[{index}]", len(out)
        address_range(out, at, each)
        if len(out) > before:
            continue
        hole = ipaddress.ip_network(each, strict=False)
        inside = (
            hole.version == whole.version
            and hole.prefixlen > whole.prefixlen
            and hole.network_address in whole
        )
        if not inside:
            out.append(causes.invalid(at, each, "must be a strict subset of `cidr`"))


def service_range(thing: JSON) -> Out:
    """Check a ServiceCIDR."""
    out = Out()
    found = items(part(thing, "spec"), "cidrs")
    if not found:
        out.append(causes.required("spec.cidrs", "at least one CIDR required"))
    if len(found) > 2:
        detail = "may only hold up to 2 values"
        out.append(causes.invalid("spec.cidrs", found, detail))
    for index, text in enumerate(found):
        address_range(out, f"spec.cidrs[{index}]", text, canonical=True)
    if len(found) == 2 and (":" in found[0]) == (":" in found[1]):
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        out.append(causes.invalid("spec.cidrs", found, detail))
    return out


def service_range_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ServiceCIDR: a range of the other family may be added, and nothing else changes."""
    out = Out()
    after, before = items(part(new, "spec"), "cidrs"), items(part(old, "spec"), "cidrs")
    if len(after) == len(before) or len(before) == 1 < len(after) <= 2:
        for index, (text, was) in enumerate(zip(after, before, strict=False)):
            immutable(out, f"spec.cidrs[{index}]", text, was)
        return out + service_range(new) if len(after) > len(before) else out
    immutable(out, "spec.cidrs", after, before)
    return out


def address_object(thing: JSON) -> Out:
    """Check an IPAddress."""
    out = Out()
    reference = part(thing, "spec").get("parentRef")
    name = part(thing, "metadata").get("name", "")
    address(out, "metadata.name", name, canonical=True)
    if reference is None:
        out.append(causes.required("spec.parentRef"))
        return out
    for field in ("resource", "name"):
        required_format(out, f"spec.parentRef.{field}", reference.get(field), names.path_segment)
    return out


def address_object_update(new: JSON, old: JSON) -> Out:
    """Check a change of an IPAddress; parentRef is immutable."""
    out = Out()
    reference = part(new, "spec").get("parentRef")
    immutable(out, "spec.parentRef", reference, part(old, "spec").get("parentRef"))
    return out
