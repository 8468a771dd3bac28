from collections.abc import Sequence

import pytest
from fakes.harness import Harness

from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.endpoints import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import EndpointHints, EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.endpoints import EndpointsController, subsets_of, truncated
from kubelite.control.endpointslice import EndpointSliceController, Plan, plan
from kubelite.control.endpointslice_mirroring import EndpointSliceMirroringController


def service(**spec: object) -> Service:
    fields: dict[str, object] = {
        "selector": {"app": "web"},
        "clusterIP": "10.43.0.7",
        "ipFamilies": ["IPv4"],
        "ports": [ServicePort(name="http", port=80, targetPort="web", protocol="TCP")],
    }
    return Service(
        metadata=ObjectMeta(name="web", namespace="default", uid="s", labels={"team": "a"}),
        spec=ServiceSpec(**{**fields, **spec}),  # type: ignore[arg-type]
    )


def pod(number: int, *, ready: bool = True, deleting: bool = False, port: int = 8080) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=f"p{number}",
            uid=f"u{number}",
            namespace="default",
            labels={"app": "web"},
            deletionTimestamp="2026-01-01T00:00:00Z" if deleting else None,
        ),
        spec=PodSpec(
            nodeName="n1",
            containers=[
                Container(
                    name="c", ports=[ContainerPort(name="web", containerPort=port, protocol="TCP")]
                )
            ],
        ),
        status=PodStatus(
            phase="Running",
            podIPs=[PodIP(ip=f"10.42.{number // 256}.{number % 256}")],
            conditions=[PodCondition(type="Ready", status="True" if ready else "False")],
        ),
    )


def test_subsets_group_by_ports_and_readiness() -> None:
    pods = [pod(1), pod(2, ready=False), pod(3, port=9090), pod(4, deleting=True)]
    first, second = subsets_of(service(), pods)
    assert [one.ip for one in first.addresses] == ["10.42.0.1"]
    assert [one.ip for one in first.notReadyAddresses] == ["10.42.0.2"]
    assert first.ports[0].port == 8080
    assert [one.ip for one in second.addresses] == ["10.42.0.3"]
    (published,) = subsets_of(service(publishNotReadyAddresses=True), [pod(1), pod(2, ready=False)])
    assert len(published.addresses) == 2


def test_ready_addresses_are_kept_when_there_are_too_many() -> None:
    pods = [pod(n, ready=n % 2 == 0) for n in range(1, 1500)]
    subsets, over = truncated(subsets_of(service(), pods))
    assert over
    assert len(subsets[0].addresses) == 749
    assert len(subsets[0].notReadyAddresses) == 251


def named(slices: Sequence[EndpointSlice], start: int = 0) -> list[EndpointSlice]:
    from msgspec.structs import replace

    return [
        replace(one, metadata=replace(one.metadata, name=f"web-{start + i}"))
        for i, one in enumerate(slices)
    ]


def test_slices_hold_a_hundred_and_change_little() -> None:
    pods = [pod(n) for n in range(250)]
    first = plan(service(), pods, {}, [])
    assert [len(one.endpoints) for one in first.create] == [100, 100, 50]
    slices = named(first.create)
    assert plan(service(), pods, {}, slices) == plan(
        service(), [], {}, plan(service(), [], {}, []).create
    )
    fewer = plan(service(), pods[1:], {}, slices)
    assert (len(fewer.create), len(fewer.update), len(fewer.delete)) == (0, 1, 0)
    more = plan(service(), [*pods, pod(300)], {}, slices)
    assert (len(more.create), len(more.update), len(more.delete)) == (0, 1, 0)
    assert more.update[0].metadata.name == "web-2"


def test_a_service_without_endpoints_keeps_one_empty_slice() -> None:
    (empty,) = plan(service(), [], {}, []).create
    assert (empty.endpoints, empty.ports, empty.addressType) == ([], [], "IPv4")
    slices = named([empty])
    filled = plan(service(), [pod(1)], {}, slices)
    assert filled.delete == ("web-0",)
    assert len(filled.create) == 1


def test_endpoints_tell_ready_serving_terminating_zone_and_hints() -> None:
    local = service(trafficDistribution="PreferSameZone")
    (one,) = plan(
        local, [pod(1), pod(2, ready=False), pod(3, deleting=True)], {"n1": "z1"}, []
    ).create
    facts = [
        (each.conditions.ready, each.conditions.serving, each.conditions.terminating)
        for each in one.endpoints
    ]
    assert facts == [(True, True, False), (False, False, False), (False, True, True)]
    assert one.endpoints[0].zone == "z1"
    assert one.endpoints[0].hints is not None
    assert one.endpoints[0].hints.forZones[0].name == "z1"
    assert (
        one.metadata.labels["endpointslice.kubernetes.io/managed-by"]
        == "endpointslice-controller.k8s.io"
    )


async def test_controllers_follow_pods() -> None:
    async with Harness(EndpointsController, EndpointSliceController) as harness:
        client = harness.client
        await client.create(service())
        await client.create(pod(1, ready=False))
        await harness.settle()
        (endpoints,) = client.all(Endpoints)
        assert endpoints.subsets[0].addresses == []
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        await client.patch(Pod, "p1", {"status": status}, "default")
        await harness.settle()
        (endpoints,) = client.all(Endpoints)
        assert endpoints.subsets[0].addresses[0].ip == "10.42.0.1"
        (one,) = client.all(EndpointSlice)
        assert one.endpoints[0].conditions.ready
        writes = len(client.writes)
        await client.patch(Pod, "p1", {"status": {"message": "x"}}, "default")
        await harness.settle()
        assert len(client.writes) == writes + 1
        await client.delete(Service, "web", "default")
        await harness.settle()
        assert client.all(Endpoints) == []


async def test_endpoints_that_people_write_are_mirrored() -> None:
    async with Harness(EndpointSliceMirroringController) as harness:
        client = harness.client
        await client.create(service(selector={}))
        subset = EndpointSubset(
            addresses=[EndpointAddress(ip="192.0.2.1"), EndpointAddress(ip="2001:db8::1")],
            notReadyAddresses=[EndpointAddress(ip="192.0.2.2")],
            ports=[EndpointPort(name="http", port=80, protocol="TCP")],
        )
        await client.create(
            Endpoints(metadata=ObjectMeta(name="web", namespace="default"), subsets=[subset])
        )
        await harness.settle()
        four, six = sorted(client.all(EndpointSlice), key=lambda one: one.addressType)
        assert [(one.addresses, one.conditions.ready) for one in four.endpoints] == [
            (["192.0.2.1"], True),
            (["192.0.2.2"], False),
        ]
        assert six.endpoints[0].addresses == ["2001:db8::1"]
        only_four = [
            {
                "addresses": [{"ip": "192.0.2.9"}],
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            }
        ]
        await client.patch(Endpoints, "web", {"subsets": only_four}, "default")
        await harness.settle()
        (left,) = client.all(EndpointSlice)
        assert left.metadata.name == four.metadata.name
        assert left.endpoints[0].addresses == ["192.0.2.9"]
        await client.patch(Service, "web", {"spec": {"selector": {"app": "web"}}}, "default")
        await harness.settle()
        assert client.all(EndpointSlice) == []


def dual_pod(number: int, *, ready: bool = True, both: bool = True) -> Pod:
    from msgspec.structs import replace

    one = pod(number, ready=ready)
    six = [PodIP(ip=f"fd00:42::{number:x}")] if both else []
    return replace(one, status=replace(one.status, podIPs=[*one.status.podIPs, *six]))


def test_each_family_has_slices_of_its_own() -> None:
    pods = [dual_pod(1), dual_pod(2)]
    made = plan(service(ipFamilies=["IPv4", "IPv6"]), pods, {}, []).create
    found = {one.addressType: [each.addresses[0] for each in one.endpoints] for one in made}
    assert found == {"IPv4": ["10.42.0.1", "10.42.0.2"], "IPv6": ["fd00:42::1", "fd00:42::2"]}
    (six,) = plan(service(ipFamilies=["IPv6"]), pods, {}, []).create
    assert six.addressType == "IPv6"


def test_a_family_without_addresses_has_an_empty_slice() -> None:
    four = [dual_pod(1, both=False)]
    both = service(ipFamilies=["IPv4", "IPv6"])
    first = plan(both, four, {}, [])
    assert [(one.addressType, len(one.endpoints)) for one in first.create] == [
        ("IPv4", 1),
        ("IPv6", 0),
    ]
    slices = named(first.create)
    assert plan(both, four, {}, slices) == Plan()
    then = plan(both, [dual_pod(1)], {}, slices)
    assert ([one.addressType for one in then.create], then.update) == (["IPv6"], ())
    assert then.delete == (slices[1].metadata.name,)


def test_a_family_that_goes_takes_its_slices_along() -> None:
    pods = [dual_pod(1)]
    slices = named(plan(service(ipFamilies=["IPv4", "IPv6"]), pods, {}, []).create)
    after = plan(service(ipFamilies=["IPv4"]), pods, {}, slices)
    (six,) = [one.metadata.name for one in slices if one.addressType == "IPv6"]
    assert (after.create, after.update, after.delete) == ((), (), (six,))


def test_endpoints_are_of_the_primary_family() -> None:
    (subset,) = subsets_of(service(ipFamilies=["IPv6", "IPv4"]), [dual_pod(1)])
    assert [one.ip for one in subset.addresses] == ["fd00:42::1"]


@pytest.mark.parametrize(
    ("distribution", "zone", "zones", "nodes"),
    [
        (None, "z", [], []),
        ("PreferClose", "z", ["z"], []),
        ("PreferSameZone", "z", ["z"], []),
        ("PreferSameZone", "", [], []),
        ("PreferSameNode", "z", ["z"], ["n1"]),
        ("PreferSameNode", "", [], ["n1"]),
    ],
)
def test_hints_of_a_distribution_are_those_of_ready_endpoints(
    distribution: str | None, zone: str, zones: list[str], nodes: list[str]
) -> None:
    given = service(trafficDistribution=distribution)
    pods = [pod(1), pod(2, ready=False), pod(3, deleting=True)]
    (made,) = plan(given, pods, {"n1": zone}, []).create
    first, *others = made.endpoints
    hints = first.hints or EndpointHints()
    assert [one.name for one in hints.forZones] == zones
    assert [one.name for one in hints.forNodes] == nodes
    assert [one.hints for one in others] == [None, None]
