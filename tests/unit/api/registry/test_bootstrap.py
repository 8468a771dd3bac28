from typing import Any

import pytest
from msgspec.structs import replace

from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.registry.bootstrap import (
    address_complaint,
    announced,
    api_endpoints,
    api_service,
    api_slice,
    completed_endpoints,
    completed_service,
    completed_slice,
    is_other_family,
    range_complaint,
    service_range,
    service_with_address,
)

WANTED = api_service("10.43.0.1", 6443)


@pytest.mark.parametrize(
    ("address", "is_announced"),
    [
        ("192.0.2.1", True),
        ("", False),
        ("127.0.0.1", False),
        ("169.254.0.9", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("2001:db8::1", False),  # the Service is of IPv4
        ("host", False),
    ],
)
def test_which_addresses_pods_are_led_to(address: str, is_announced: bool) -> None:
    assert announced(address) == (address if is_announced else "")


def changed(**fields: Any) -> Service:
    return replace(WANTED, spec=replace(WANTED.spec, **fields))


@pytest.mark.parametrize(
    "stored",
    [
        changed(ports=[ServicePort(name="https", protocol="TCP", port=443, targetPort=7443)]),
        changed(selector={"app": "mine"}),
        changed(type="NodePort"),
        changed(type="ExternalName", externalName="a.example", clusterIP="", clusterIPs=[]),
        changed(sessionAffinity="ClientIP"),
        replace(WANTED, metadata=replace(WANTED.metadata, labels={})),
    ],
)
def test_the_service_is_made_as_it_should_be(stored: Service) -> None:
    revised = completed_service(stored, WANTED)
    assert revised == WANTED != stored
    assert completed_service(revised, WANTED) == revised


def test_labels_of_others_stay() -> None:
    meta = replace(WANTED.metadata, labels={"mine": "1"})
    assert completed_service(replace(WANTED, metadata=meta), WANTED).metadata.labels == {
        "mine": "1",
        "component": "apiserver",
        "provider": "kubernetes",
    }


def test_an_address_that_cannot_be_changed_stays_and_is_told() -> None:
    old = api_service("10.50.0.1", 6443)
    assert completed_service(old, WANTED) == old
    assert "10.50.0.1, not 10.43.0.1" in address_complaint(old, "10.43.0.1")
    assert "missing, not 10.43.0.1" in address_complaint(changed(clusterIP=""), "10.43.0.1")
    assert address_complaint(WANTED, "10.43.0.1") == ""


def test_who_has_an_address() -> None:
    rival = replace(WANTED, metadata=replace(WANTED.metadata, name="web", namespace="team"))
    assert service_with_address([WANTED, rival], "10.43.0.1", "default/kubernetes") is rival
    assert service_with_address([WANTED, rival], "10.43.0.9", "") is None


def test_the_endpoint_follows_the_host_and_is_left_out_without_an_address() -> None:
    first, none = api_endpoints("192.0.2.1", 6443), api_endpoints("", 6443)
    assert completed_endpoints(first, api_endpoints("192.0.2.9", 6443)).subsets[0].addresses[
        0
    ].ip == ("192.0.2.9")
    assert completed_endpoints(first, none).subsets == []
    held, empty = api_slice("192.0.2.1", 6443), api_slice("", 6443)
    assert completed_slice(held, empty).endpoints == []
    assert completed_slice(empty, held) == held
    assert not is_other_family(held)
    assert is_other_family(replace(held, addressType="IPv6"))


def test_another_range_than_configured_is_told() -> None:
    assert range_complaint(service_range(["10.43.0.0/16"]), ["10.43.0.0/16"]) == ""
    assert range_complaint(service_range(["10.43.0.0/16"]), ["10.50.0.0/16"]) == (
        "the default ServiceCIDR [10.43.0.0/16] does not match the flag configuration 10.50.0.0/16"
    )
