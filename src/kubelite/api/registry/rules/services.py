"""Rules of Services, Endpoints and EndpointSlices."""

import ipaddress

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.ip_formats import address, address_range, is_address
from kubelite.api.registry.rules.values import (
    EMPTY,
    JSON,
    Out,
    format_check,
    immutable,
    items,
    one_of,
    part,
    port_or_name,
    required_format,
)

_TYPES = enums.SERVICE_TYPES.enum
_PROTOCOLS = enums.PROTOCOLS.enum
_AFFINITY_SECONDS_MAX = 86400
_EXTERNAL = ("NodePort", "LoadBalancer")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_ONCE = "may not change once set"
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_ONE_EACH = "may specify no more than one IP for each IP family"


def _is_headless(spec: JSON) -> bool:
    return items(spec, "clusterIPs") == ["None"]


def service(thing: JSON) -> Out:
    """Check a Service."""
    out = Out()
    spec = part(thing, "spec")
    kind, ports = spec.get("type", ""), items(spec, "ports")
    if not ports and not _is_headless(spec) and kind != "ExternalName":
        out.append(causes.required("spec.ports"))
    if kind in _EXTERNAL and _is_headless(spec):
        detail = f"may not be set to 'None' for {kind} services"
        out.append(causes.invalid("spec.clusterIPs[0]", "None", detail))
    if kind == "ExternalName":
        _external_name(out, spec)
    else:
        cluster_addresses(out, spec)
    _ports(out, ports, kind)
    if selector := spec.get("selector"):
        labels.labels(out, "spec.selector", selector)
    _affinity(out, spec)
    one_of(out, "spec.type", kind, _TYPES)
    for index, text in enumerate(items(spec, "externalIPs")):
        endpoint_address(out, f"spec.externalIPs[{index}]", text)
    _balancing(out, spec, kind)
    _traffic(out, spec, kind)
    return out


def _external_name(out: Out, spec: JSON) -> None:
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            detail = "may not be set for ExternalName services"
            out.append(causes.forbidden(f"spec.{field}", detail))
    name = spec.get("externalName", "").removesuffix(".")
    required_format(out, "spec.externalName", name, names.dns_subdomain)


def _ports(out: Out, ports: list[JSON], kind: str) -> None:
    seen: set[str] = set()
    pairs: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        at, name, protocol = f"spec.ports[{index}]", port.get("name"), port.get("protocol", "")
        number, node = port.get("port", 0), port.get("nodePort", 0)
        if not name:
            if len(ports) > 1:
                out.append(causes.required(f"{at}.name"))
        else:
            format_check(out, f"{at}.name", name, names.dns_label)
            if name in seen:
                out.append(causes.duplicate(f"{at}.name", name))
            seen.add(name)
        for finding in names.port_number(number):
            out.append(causes.invalid(f"{at}.port", number, finding))
        one_of(out, f"{at}.protocol", protocol, _PROTOCOLS)
        port_or_name(out, f"{at}.targetPort", port.get("targetPort"))
        if application := port.get("appProtocol"):
            format_check(out, f"{at}.appProtocol", application, names.qualified_name)
        if (protocol, number) in pairs:
            out.append(causes.duplicate(at, {"port": number, "protocol": protocol}))
        pairs.add((protocol, number))
        if node:
            if kind == "ClusterIP":
                detail = "may not be used when `type` is 'ClusterIP'"
                out.append(causes.forbidden(f"{at}.nodePort", detail))
            if (protocol, node) in node_ports:
                out.append(causes.duplicate(f"{at}.nodePort", node))
            node_ports.add((protocol, node))


def _affinity(out: Out, spec: JSON) -> None:
    kind, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    path = "spec.sessionAffinityConfig"
    one_of(out, "spec.sessionAffinity", kind, enums.AFFINITIES.enum)
    if kind == "None":
        if config is not None:
            detail = "must not be set when session affinity is None"
            out.append(causes.forbidden(path, detail))
    elif kind == "ClientIP":
        needed = "when session affinity type is ClientIP"
        client = part(config or EMPTY, "clientIP")
        seconds = client.get("timeoutSeconds")
        if config is None:
            out.append(causes.required(path, needed))
        elif seconds is None:
            field = ".timeoutSeconds" if client else ""
            out.append(causes.required(f"{path}.clientIP{field}", needed))
        elif not 0 < seconds <= _AFFINITY_SECONDS_MAX:
            detail = f"must be greater than 0 and less than {_AFFINITY_SECONDS_MAX}"
            out.append(causes.invalid(f"{path}.clientIP.timeoutSeconds", seconds, detail))


def cluster_addresses(out: Out, spec: JSON) -> None:
    """Check that the addresses, families and policy of a Service are consistent."""
    one, found, path = spec.get("clusterIP", ""), items(spec, "clusterIPs"), "spec.clusterIPs"
    families = items(spec, "ipFamilies")
    if one and not found:
        out.append(causes.required(path))
    elif one and found[0] != one:
        out.append(causes.invalid(path, found, "first value must match `clusterIP`"))
    elif not one and found:
        detail = "must be empty when `clusterIP` is not specified"
        out.append(causes.invalid(path, found, detail))
    seen: set[str] = set()
    for index, family in enumerate(families):
        one_of(out, f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
        if family in seen:
            out.append(causes.duplicate(f"spec.ipFamilies[{index}]", family))
        seen.add(family)
    if policy := spec.get("ipFamilyPolicy"):
        supported = enums.IP_FAMILY_POLICIES.enum
        one_of(out, "spec.ipFamilyPolicy", policy, supported)
    before = len(out)
    for index, text in enumerate(found):
        if index == 0 and text == "None":
            if len(found) > 1:
                detail = "'None' must be the first and only value"
                out.append(causes.invalid(path, found, detail))
        else:
            address(out, f"{path}[{index}]", text)
    if len(found) > 2:
        out.append(causes.invalid(path, found, "may only hold up to 2 values"))
    if len(out) == before and not _is_headless(spec):
        _families(out, found, families)


def _families(out: Out, found: list[str], families: list[str]) -> None:
    versions = [f"IPv{ipaddress.ip_address(text).version}" for text in found]
    if len(versions) == 2 and versions[0] == versions[1]:
        out.append(causes.invalid("spec.clusterIPs", found, _ONE_EACH))
    for index, (text, version) in enumerate(zip(found, versions, strict=True)):
        if index < len(families) and families[index] != version:
            detail = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
            out.append(causes.invalid(f"spec.clusterIPs[{index}]", text, detail))


def _balancing(out: Out, spec: JSON, kind: str) -> None:
    balanced = kind == "LoadBalancer"
    if ranges := spec.get("loadBalancerSourceRanges"):
        path = "spec.LoadBalancerSourceRanges"
        if not balanced:
            out.append(causes.forbidden(path, _ONLY_BALANCED))
        for index, text in enumerate(ranges):
            address_range(out, f"{path}[{index}]", text.strip())
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        out.append(causes.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED))
    if (name := spec.get("loadBalancerClass")) is not None:
        if balanced:
            format_check(out, "spec.loadBalancerClass", name, names.qualified_name)
        else:
            out.append(causes.forbidden("spec.loadBalancerClass", _ONLY_BALANCED))


def _traffic(out: Out, spec: JSON, kind: str) -> None:
    policy, path = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    if kind in _EXTERNAL or (kind == "ClusterIP" and spec.get("externalIPs")):
        one_of(out, path, policy, enums.TRAFFIC_POLICIES.enum)
    elif policy:
        detail = "may only be set for externally-accessible services"
        out.append(causes.invalid(path, policy, detail))
    health, path = spec.get("healthCheckNodePort", 0), "spec.healthCheckNodePort"
    if kind == "LoadBalancer" and policy == "Local":
        if not health:
            out.append(causes.required(path))
        for finding in names.port_number(health) if health else ():
            out.append(causes.invalid(path, health, finding))
    elif health:
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        out.append(causes.invalid(path, health, detail))
    inside = spec.get("internalTrafficPolicy")
    if inside is not None or kind in (*_EXTERNAL, "ClusterIP"):
        one_of(out, "spec.internalTrafficPolicy", inside, enums.TRAFFIC_POLICIES.enum)
    spread = spec.get("trafficDistribution")
    if spread is not None and spread not in _DISTRIBUTIONS:
        out.append(causes.unsupported("spec.trafficDistribution", spread, _DISTRIBUTIONS))


def service_update(new: JSON, old: JSON) -> Out:
    """Check a change of a Service; its cluster addresses are immutable."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    if "ExternalName" not in (after.get("type"), before.get("type")):
        _kept_addresses(out, after, before)
        _kept_families(out, after, before)
    if after.get("type") == before.get("type") == "LoadBalancer":
        name, was = after.get("loadBalancerClass"), before.get("loadBalancerClass")
        if name != was:
            out.append(causes.invalid("spec.loadBalancerClass", name, _ONCE))
        local = [each.get("externalTrafficPolicy") == "Local" for each in (after, before)]
        port, was = after.get("healthCheckNodePort"), before.get("healthCheckNodePort")
        if all(local) and port != was:
            out.append(causes.forbidden("spec.healthCheckNodePort", causes.IMMUTABLE))
    return out + service(new)


def _kept_addresses(out: Out, after: JSON, before: JSON) -> None:
    found, was, path = items(after, "clusterIPs"), items(before, "clusterIPs"), "spec.clusterIPs"
    if not was or (_is_headless(after) and _is_headless(before)):
        return
    if not found:
        detail = "primary clusterIP can not be unset"
        out.append(causes.invalid(f"{path}[0]", found, detail))
        return
    for index, (text, other) in enumerate(zip(found, was, strict=False)):
        if text != other:
            out.append(causes.invalid(f"{path}[{index}]", found, _ONCE))
    if len(found) < len(was) and after.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        out.append(causes.invalid("spec.ipFamilyPolicy", after.get("ipFamilyPolicy"), detail))


def _kept_families(out: Out, after: JSON, before: JSON) -> None:
    """Check that a Service with addresses keeps its primary family, and gives up the other one by its policy."""
    if _is_headless(after) or _is_headless(before):
        return
    found, was = items(after, "ipFamilies"), items(before, "ipFamilies")
    if was and not found:
        detail = "primary ipFamily can not be unset"
        out.append(causes.invalid("spec.ipFamilies[0]", found, detail))
    for family, other in zip(found, was, strict=False):
        if family != other:
            out.append(causes.invalid("spec.ipFamilies[0]", found, _ONCE))
    if len(found) == 1 < len(was) and after.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        out.append(causes.invalid("spec.ipFamilyPolicy", after.get("ipFamilyPolicy"), detail))


def service_status(new: JSON, _old: JSON) -> Out:
    """Check the status of a load balancer."""
    out = Out()
    found = items(part(new, "status", "loadBalancer"), "ingress")
    path = "status.loadBalancer.ingress"
    if found and part(new, "spec").get("type") != "LoadBalancer":
        out.append(causes.forbidden(path, "may only be used when `spec.type` is LoadBalancer"))
    for index, point in enumerate(found):
        at = f"{path}[{index}]"
        if text := point.get("ip"):
            address(out, f"{at}.ip", text)
        if host := point.get("hostname"):
            format_check(out, f"{at}.hostname", host, names.dns_subdomain)
            if is_address(host):
                detail = "must be a DNS name, not an IP address"
                out.append(causes.invalid(f"{at}.hostname", host, detail))
    return out


def endpoint_address(out: Out, path: str, text: str) -> None:
    """Check the address of an endpoint."""
    before = len(out)
    address(out, path, text)
    if len(out) > before:
        return
    found = ipaddress.ip_address(text)
    if found.is_unspecified:
        out.append(causes.invalid(path, text, f"may not be unspecified ({text})"))
    if found.is_loopback:
        detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        out.append(causes.invalid(path, text, detail))
    if found.is_link_local:
        detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        out.append(causes.invalid(path, text, detail))
    if text.startswith("224.0.0.") or text.lower().startswith("ff02:"):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        out.append(causes.invalid(path, text, detail))


def endpoints(thing: JSON) -> Out:
    """Check Endpoints."""
    out = Out()
    for index, subset in enumerate(items(thing, "subsets")):
        at, ports = f"subsets[{index}]", items(subset, "ports")
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            detail = "must specify `addresses` or `notReadyAddresses`"
            out.append(causes.required(at, detail))
        for field in ("addresses", "notReadyAddresses"):
            for position, each in enumerate(items(subset, field)):
                where = f"{at}.{field}[{position}]"
                endpoint_address(out, f"{where}.ip", each.get("ip", ""))
                if host := each.get("hostname"):
                    format_check(out, f"{where}.hostname", host, names.dns_label)
                if node := each.get("nodeName"):
                    format_check(out, f"{where}.nodeName", node, names.dns_subdomain)
        for position, port in enumerate(ports):
            _endpoint_port(out, f"{at}.ports[{position}]", port, named=len(ports) > 1)
    return out


def _endpoint_port(out: Out, path: str, port: JSON, *, named: bool) -> None:
    name = port.get("name")
    if named or name:
        required_format(out, f"{path}.name", name, names.dns_label)
    for finding in names.port_number(port.get("port", 0)):
        out.append(causes.invalid(f"{path}.port", port.get("port", 0), finding))
    one_of(out, f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
    if application := port.get("appProtocol"):
        format_check(out, f"{path}.appProtocol", application, names.qualified_name)


def endpoints_update(new: JSON, old: JSON) -> Out:
    """Check a change of Endpoints; what was stored before may stay."""
    return Out() if new.get("subsets") == old.get("subsets") else endpoints(new)


def endpoint_slice(thing: JSON) -> Out:
    """Check an EndpointSlice."""
    out = Out()
    kind, found = thing.get("addressType", ""), items(thing, "endpoints")
    one_of(out, "addressType", kind, enums.ADDRESS_TYPES.enum)
    if len(found) > 1000:
        out.append(causes.too_many("endpoints", len(found), 1000))
        return out
    for index, endpoint in enumerate(found):
        _slice_endpoint(out, f"endpoints[{index}]", endpoint, kind)
    ports = items(thing, "ports")
    if len(ports) > 20000:
        out.append(causes.too_many("ports", len(ports), 20000))
        return out
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name") or ""
        if name:
            format_check(out, f"{at}.name", name, names.dns_label)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        one_of(out, f"{at}.protocol", port.get("protocol"), _PROTOCOLS)
        if (number := port.get("port")) is not None:
            for finding in names.port_number(number):
                out.append(causes.invalid(f"{at}.port", number, finding))
        if application := port.get("appProtocol"):
            format_check(out, f"{at}.appProtocol", application, names.qualified_name)
    return out


def _slice_endpoint(out: Out, path: str, endpoint: JSON, kind: str) -> None:
    found = items(endpoint, "addresses")
    if not found:
        out.append(causes.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(found) > 100:
        out.append(causes.too_many(f"{path}.addresses", len(found), 100))
    for index, text in enumerate(found):
        at = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            format_check(out, at, text, names.dns_subdomain)
            continue
        before = len(out)
        endpoint_address(out, at, text)
        if len(out) == before and f"IPv{ipaddress.ip_address(text).version}" != kind:
            out.append(causes.invalid(at, text, f"must be an {kind} address"))
    if (host := endpoint.get("hostname")) is not None:
        format_check(out, f"{path}.hostname", host, names.dns_label)
    if (node := endpoint.get("nodeName")) is not None:
        format_check(out, f"{path}.nodeName", node, names.dns_subdomain)
    if topology := endpoint.get("deprecatedTopology"):
        labels.labels(out, f"{path}.topology", topology)


def endpoint_slice_update(new: JSON, old: JSON) -> Out:
    """Check a change of an EndpointSlice."""
    out = endpoint_slice(new)
    immutable(out, "addressType", new.get("addressType"), old.get("addressType"))
    return out
