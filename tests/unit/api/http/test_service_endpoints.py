"""Services resolved to the addresses of their ready endpoints."""

from typing import Any

import msgspec
import pytest
from fakes.aggregated import external

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.http.service_endpoints import Endpoint, NoEndpoint, ServiceEndpoints
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.randomness import SeededRandomness

SERVICE = {
    "metadata": {"name": "agg", "namespace": "shop"},
    "spec": {"ports": [{"name": "tls", "port": 443}, {"name": "other", "port": 80}]},
}


def slice_of(name: str, *listed: dict[str, Any], of: str = "agg") -> EndpointSlice:
    value = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": of},
        },
        "addressType": "IPv4",
        "ports": [{"name": "tls", "port": 8443}, {"name": "other"}],
        "endpoints": list(listed),
    }
    return msgspec.convert(value, EndpointSlice)


def test_ready_endpoints_are_found_in_all_slices_of_a_service() -> None:
    lookup = FixedLookup(
        [
            msgspec.convert(SERVICE, Service),
            slice_of("a", {"addresses": ["192.0.2.1"], "nodeName": "n1"}, {"addresses": []}),
            slice_of("b", {"addresses": ["2001:db8::1"], "conditions": {"ready": True}}),
            slice_of("c", {"addresses": ["192.0.2.3"], "conditions": {"ready": False}}),
            slice_of("d", {"addresses": ["192.0.2.4"]}, of="another"),
        ]
    )
    found = ServiceEndpoints(lookup, SeededRandomness(1))
    both = [Endpoint("192.0.2.1", 8443, "n1"), Endpoint("2001:db8::1", 8443)]
    assert list(found.all("shop", "agg", 443)) == both
    assert {found.resolve("shop", "agg", 443) for _ in range(50)} == set(both)
    assert both[1].authority == "[2001:db8::1]:8443"


def test_what_was_found_is_kept_until_something_changes() -> None:
    lookup = FixedLookup([msgspec.convert(SERVICE, Service)])
    lists = 0
    listed = lookup.list

    def counted(kind: Any, namespace: str = "") -> Any:
        nonlocal lists
        lists += 1
        return listed(kind, namespace)

    found = ServiceEndpoints(lookup, SeededRandomness(1))
    with pytest.raises(NoEndpoint, match='no endpoints available for service "agg"'):
        found.resolve("shop", "agg", 443)
    lookup.put(slice_of("a", {"addresses": ["192.0.2.1"]}))
    lookup.list = counted  # type: ignore[method-assign]  # counts what is asked
    for _ in range(10):
        assert found.resolve("shop", "agg", 443).host == "192.0.2.1"
    assert lists == 1
    lookup.put(slice_of("a", {"addresses": ["192.0.2.2"]}))
    assert found.resolve("shop", "agg", 443).host == "192.0.2.2"
    lookup.put(external("db.example.com"))
    assert found.resolve("shop", "agg", 8443) == Endpoint("db.example.com", 8443, is_external=True)
    lookup.remove(Service, "agg", "shop")
    with pytest.raises(NoEndpoint, match='service "agg" not found'):
        found.resolve("shop", "agg", 443)


def test_a_port_that_a_service_does_not_have() -> None:
    lookup = FixedLookup([msgspec.convert(SERVICE, Service)])
    with pytest.raises(NoEndpoint, match='no service port 1 found for service "agg"'):
        ServiceEndpoints(lookup, SeededRandomness(1)).resolve("shop", "agg", 1)
