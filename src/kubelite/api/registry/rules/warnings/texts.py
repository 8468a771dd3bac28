"""Warnings about single values that rules of many kinds share."""

import ipaddress
from collections.abc import Iterable, Iterator

from kubelite.api.machinery import names
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.registry.rules.ip_formats import Address, parsed, without_leading_zeros
from kubelite.api.registry.rules.values import JSON

NO_SELECTOR = "a null labelSelector results in matching no pod"
OLD_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def old_node_labels(path: str, labels: Iterable[str]) -> Iterator[str]:
    """Warn of node labels that were replaced, each addressed as a key of the map at `path`."""
    for label in labels:
        if (about := OLD_NODE_LABELS.get(label)) is not None:
            yield f"{path}[{label}]: {about}"


def node_requirements(path: str, expressions: Iterable[JSON]) -> Iterator[str]:
    """Warn of node labels that were replaced, in the match expressions at `path`."""
    for index, expression in enumerate(expressions):
        key = expression.get("key", "")
        if (about := OLD_NODE_LABELS.get(key)) is not None:
            yield f"{path}[{index}].key: {key} is {about}"


def surprising_name(thing: JSON, used_in: str) -> Iterator[str]:
    """Warn of a name that becomes a host name without being a DNS label."""
    name = thing["metadata"].get("name", "")
    if findings := names.dns_label(name):
        yield (
            f"metadata.name: this is used in {used_in}, which can result in surprising behavior; "
            f"a DNS label is recommended: [{' '.join(findings)}]"
        )


def fractional(path: str, amounts: JSON, *resources: str) -> Iterator[str]:
    """Warn of amounts of bytes that are no whole numbers."""
    for resource in resources:
        amount = amounts.get(resource)
        if amount is not None and parse_quantity(amount).milli_value() % 1000:
            yield (
                f"{path}[{resource}]: fractional byte value {quoted(canonical_quantity(amount))} "
                "is invalid, must be an integer"
            )


def odd_address(path: str, text: str) -> Iterator[str]:
    """Warn of an IP address that programs may parse differently, or that is not in canonical form.

    Source: "IP address and CIDR validation" and RFC 5952. Validation rejects a text that is no address at all.
    """
    strict = parsed(text)
    address = strict or parsed(without_leading_zeros(text))
    if address is None:
        return
    if strict is None or _mapped(address) is not None:
        shown = _mapped(address) or address
        yield f"{path}: non-standard IP address {quoted(text)} is invalid: use {quoted(str(shown))}"
    elif address.version == 6 and str(address) != text:
        yield (
            f"{path}: IPv6 address {quoted(text)} should be in RFC 5952 canonical format "
            f"({quoted(str(address))})"
        )


def odd_range(path: str, text: str) -> Iterator[str]:
    """Warn of a CIDR with bits beyond its length, with leading zeros, or not in canonical form."""
    head, _, length = text.partition("/")
    strict = parsed(head)
    address = strict or parsed(without_leading_zeros(head))
    if address is None or not (length.isascii() and length.isdigit()) or len(length) > 3:
        return
    bits = int(length)
    if bits > address.max_prefixlen:
        return
    shown, shown_bits = address, bits
    if (mapped := _mapped(address)) is not None and bits >= 96:
        shown, shown_bits = mapped, bits - 96
    network = ipaddress.ip_network(f"{shown}/{shown_bits}", strict=False)
    is_ambiguous = network.network_address != shown
    if is_ambiguous:
        single = f"{shown}/{shown.max_prefixlen}"
        yield (
            f"{path}: CIDR value {quoted(text)} is ambiguous in this context "
            f"(should be {quoted(str(network))} or {quoted(single)}?)"
        )
    if strict is None or mapped is not None or str(bits) != length:
        yield (
            f"{path}: non-standard CIDR value {quoted(text)} is invalid: use {quoted(str(network))}"
        )
    elif not is_ambiguous and address.version == 6 and f"{address}/{bits}" != text:
        yield (
            f"{path}: IPv6 CIDR value {quoted(text)} should be in RFC 5952 canonical format "
            f"({quoted(f'{address}/{bits}')})"
        )


def odd_balancer_addresses(thing: JSON) -> Iterator[str]:
    """Warn of the addresses in a load balancer's status."""
    balancer = (thing.get("status") or {}).get("loadBalancer") or {}
    for index, ingress in enumerate(balancer.get("ingress") or ()):
        if address := ingress.get("ip"):
            yield from odd_address(f"status.loadBalancer.ingress[{index}]", address)


def _mapped(address: Address) -> ipaddress.IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
