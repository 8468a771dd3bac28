"""Warnings about Services, their endpoints, Ingresses and NetworkPolicies."""

from collections.abc import Iterator

from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.texts import (
    odd_address,
    odd_balancer_addresses,
    odd_range,
)

_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_INGRESS_CLASS = "kubernetes.io/ingress.class"
_ENDPOINTS_MADE_BY = "endpoints.kubernetes.io/managed-by"
_SLICE_MADE_BY = "endpointslice.kubernetes.io/managed-by"
_SLICE_CONTROLLERS = (
    "endpointslice-controller.k8s.io",
    "endpointslicemirroring-controller.k8s.io",
)
_EXTERNAL_NAME = "ExternalName"


def service(thing: JSON) -> Iterator[str]:
    """Warn about a Service, new or changed."""
    spec = part(thing, "spec")
    is_headless = spec.get("type") == "ClusterIP" and spec.get("clusterIP") == "None"
    if _TOPOLOGY_HINTS in part(thing, "metadata", "annotations"):
        yield f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead"
    if spec.get("clusterIP") not in (None, "", "None"):
        for index, address in enumerate(items(spec, "clusterIPs")):
            yield from odd_address(f"spec.clusterIPs[{index}]", address)
    if is_headless:
        yield from _headless(spec)
    yield from _external_addresses(spec, is_headless=is_headless)
    if spec.get("externalName") and spec.get("type") != _EXTERNAL_NAME:
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _headless(spec: JSON) -> Iterator[str]:
    if spec.get("loadBalancerIP"):
        yield "spec.loadBalancerIP is ignored for headless services"
    if spec.get("externalIPs"):
        yield "spec.externalIPs is ignored for headless services"
    if spec.get("sessionAffinity") != "None":
        yield "spec.SessionAffinity is ignored for headless services"


def _external_addresses(spec: JSON, *, is_headless: bool) -> Iterator[str]:
    kind, external = spec.get("type"), items(spec, "externalIPs")
    for index, address in enumerate(external):
        yield from odd_address(f"spec.externalIPs[{index}]", address)
    if external and not is_headless and kind != _EXTERNAL_NAME:
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if address := spec.get("loadBalancerIP"):
        yield from odd_address("spec.loadBalancerIP", address)
    for index, text in enumerate(items(spec, "loadBalancerSourceRanges")):
        yield from odd_range(f"spec.loadBalancerSourceRanges[{index}]", text)
    if external and kind == _EXTERNAL_NAME:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'


def balancer_status(thing: JSON, _: JSON) -> Iterator[str]:
    """Warn about the addresses in the status of a Service or an Ingress."""
    yield from odd_balancer_addresses(thing)


def endpoints(thing: JSON) -> Iterator[str]:
    """Warn about the addresses of Endpoints that were not written by the controller."""
    if part(thing, "metadata", "labels").get(_ENDPOINTS_MADE_BY) == "endpoint-controller":
        return
    for index, subset in enumerate(items(thing, "subsets")):
        for field in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(items(subset, field)):
                path = f"subsets[{index}].{field}[{place}].ip"
                yield from odd_address(path, address.get("ip", ""))


def endpoint_slice(thing: JSON) -> Iterator[str]:
    """Warn about a new EndpointSlice."""
    if thing.get("addressType") == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"
    yield from endpoint_slice_addresses(thing)


def endpoint_slice_addresses(thing: JSON) -> Iterator[str]:
    """Warn about the addresses of a slice that was not written by a controller."""
    if part(thing, "metadata", "labels").get(_SLICE_MADE_BY) in _SLICE_CONTROLLERS:
        return
    for index, endpoint in enumerate(items(thing, "endpoints")):
        for place, address in enumerate(items(endpoint, "addresses")):
            yield from odd_address(f"endpoints[{index}].addresses[{place}]", address)


def ingress(thing: JSON) -> Iterator[str]:
    """Warn about a new Ingress."""
    annotations = part(thing, "metadata", "annotations")
    if _INGRESS_CLASS in annotations and part(thing, "spec").get("ingressClassName") is None:
        yield (
            f"annotation {quoted(_INGRESS_CLASS)} is deprecated, "
            "please use 'spec.ingressClassName' instead"
        )


def policy(thing: JSON) -> Iterator[str]:
    """Warn about the ranges of a NetworkPolicy."""
    spec = part(thing, "spec")
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(items(spec, field)):
            for place, peer in enumerate(items(rule, peers)):
                if (block := peer.get("ipBlock")) is not None:
                    path = f"spec.{field}[{index}].{peers}[{place}].ipBlock"
                    yield from odd_range(f"{path}.cidr", block.get("cidr", ""))
                    for position, text in enumerate(items(block, "except")):
                        yield from odd_range(f"{path}.except[{position}]", text)
