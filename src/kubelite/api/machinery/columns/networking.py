"""Columns of services, endpoints, ingresses and other networking kinds."""

from datetime import datetime

from kubelite.api.machinery.columns.layout import (
    JSON,
    NONE,
    Cells,
    Layout,
    age_of,
    columns,
    format_labels,
    format_selector,
    items,
    name_of,
    part,
    shortened,
)


def _ingress_points(thing: JSON) -> list[str]:
    found = items(part(thing, "status", "loadBalancer"), "ingress")
    return sorted({point.get("ip") or point.get("hostname") or "" for point in found} - {""})


def _external_address(thing: JSON) -> str:
    spec = part(thing, "spec")
    kind, extra = spec.get("type", ""), items(spec, "externalIPs")
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(extra) or NONE
    if kind == "LoadBalancer":
        return ",".join([*_ingress_points(thing), *extra]) or "<pending>"
    return spec.get("externalName", "") if kind == "ExternalName" else "<unknown>"


def _port(port: JSON) -> str:
    node_port = port.get("nodePort")
    number = f"{port.get('port', 0)}:{node_port}" if node_port else str(port.get("port", 0))
    return f"{number}/{port.get('protocol', '')}"


def _service(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    addresses = items(spec, "clusterIPs")
    return [
        name_of(thing),
        spec.get("type", ""),
        (addresses[0] if addresses else spec.get("clusterIP")) or NONE,
        _external_address(thing),
        ",".join(map(_port, items(spec, "ports"))) or NONE,
        age_of(thing, now),
        format_labels(spec.get("selector")),
    ]


def _endpoints(thing: JSON, now: datetime) -> Cells:
    found = []
    for subset in items(thing, "subsets"):
        addresses = [each.get("ip", "") for each in items(subset, "addresses")]
        ports = items(subset, "ports")
        if not ports:
            found.extend(addresses)
        for port in ports:
            found.extend(_joined(address, port.get("port", 0)) for address in addresses)
    return [name_of(thing), shortened(found, empty=NONE), age_of(thing, now)]


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _slice(thing: JSON, now: datetime) -> Cells:
    ports = [str(port.get("port") or port.get("name") or "*") for port in items(thing, "ports")]
    addresses = [
        address for each in items(thing, "endpoints") for address in items(each, "addresses")
    ]
    kind = thing.get("addressType", "")
    return [name_of(thing), kind, shortened(ports), shortened(addresses), age_of(thing, now)]


def _hosts(spec: JSON) -> str:
    rules = items(spec, "rules")
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    if not hosts:
        return "*"
    text = ",".join(hosts[:3])
    return f"{text} + {len(rules) - 3} more..." if len(hosts) > 3 else text


def _ingress(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    return [
        name_of(thing),
        spec.get("ingressClassName") or NONE,
        _hosts(spec),
        ",".join(_ingress_points(thing)),
        "80, 443" if spec.get("tls") else "80",
        age_of(thing, now),
    ]


def _ingress_class(thing: JSON, now: datetime) -> Cells:
    name, spec = name_of(thing), part(thing, "spec")
    annotations = part(thing, "metadata", "annotations")
    if annotations.get("ingressclass.kubernetes.io/is-default-class") == "true":
        name += " (default)"
    shown = NONE
    if parameters := spec.get("parameters"):
        group = parameters.get("apiGroup")
        kind = parameters.get("kind", "")
        shown = f"{kind}.{group}" if group else kind
        shown += f"/{parameters.get('name', '')}"
    return [name, spec.get("controller", ""), shown, age_of(thing, now)]


def _policy(thing: JSON, now: datetime) -> Cells:
    selector = part(thing, "spec").get("podSelector")
    return [name_of(thing), format_selector(selector), age_of(thing, now)]


def _service_range(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), ",".join(items(part(thing, "spec"), "cidrs")), age_of(thing, now)]


def _address(thing: JSON, now: datetime) -> Cells:
    parent, shown = part(thing, "spec").get("parentRef"), NONE
    if parent:
        group = parent.get("group")
        resource = parent.get("resource", "")
        words = [f"{resource}.{group}".lower() if group else resource.lower()]
        words += [parent["namespace"]] if parent.get("namespace") else []
        shown = "/".join([*words, parent.get("name", "")])
    return [name_of(thing), shown, age_of(thing, now)]


SERVICE = Layout(
    columns("Name | Type | Cluster-IP | External-IP | Port(s) | Age | Selector+"), _service
)
ENDPOINTS = Layout(columns("Name | Endpoints | Age"), _endpoints)
ENDPOINT_SLICE = Layout(columns("Name | AddressType | Ports | Endpoints | Age"), _slice)
INGRESS = Layout(columns("Name | Class | Hosts | Address | Ports | Age"), _ingress)
INGRESS_CLASS = Layout(columns("Name | Controller | Parameters | Age"), _ingress_class)
NETWORK_POLICY = Layout(columns("Name | Pod-Selector | Age"), _policy)
SERVICE_CIDR = Layout(columns("Name | CIDRs | Age"), _service_range)
IP_ADDRESS = Layout(columns("Name | ParentRef | Age"), _address)
