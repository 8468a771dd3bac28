"""A dual-stack cluster: nodes, pods, Services and endpoints of both families, and ranges that come and go."""

import asyncio
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from kubelite.api.errors import Invalid
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import IPAddress, ServiceCIDR, ServiceCIDRSpec
from kubelite.config import Config
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import simulated

PODS, SERVICES = "10.42.0.0/16,fd00:42::/48", "10.43.0.0/16,fd00:43::/112"
LABELS = {"app": "web"}


def dual(seed: int, **more: Any) -> SimulatedCluster:
    config = Config(cluster_cidr=PODS, service_cidr=SERVICES)
    ranges = {"cluster_cidrs": tuple(map(ip_network, config.cluster_cidrs))}
    return SimulatedCluster(seed, config=config, options=ranges, **more)


async def deploy(cluster: SimulatedCluster, replicas: int) -> None:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    await cluster.create(Deployment, {"metadata": {"name": "web"}, "spec": spec})
    await cluster.until(
        lambda: [pod.status.phase for pod in cluster.all(Pod)] == ["Running"] * replicas
    )


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": LABELS, "ports": [{"port": 80}], **spec},
    }


def addresses_by_family(cluster: SimulatedCluster, name: str) -> dict[str, int]:
    """Return the count of endpoints by address type, of the slices of a Service."""
    found: dict[str, int] = {}
    for one in cluster.all(EndpointSlice):
        if one.metadata.labels.get("kubernetes.io/service-name") == name:
            for endpoint in one.endpoints:
                assert f"IPv{ip_address(endpoint.addresses[0]).version}" == one.addressType
            found[one.addressType] = found.get(one.addressType, 0) + len(one.endpoints)
    return found


def spec_of(cluster: SimulatedCluster, name: str, namespace: str = "default") -> Any:
    (found,) = [one for one in cluster.all(Service, namespace) if one.metadata.name == name]
    return found.spec


@simulated
async def test_everything_has_two_families() -> None:
    async with dual(1, nodes=2) as cluster:
        await cluster.until(lambda: all(one.spec.podCIDRs for one in cluster.all(Node)))
        for one in cluster.all(Node):
            versions = [ip_network(text).version for text in one.spec.podCIDRs]
            assert (versions, one.spec.podCIDR) == ([4, 6], one.spec.podCIDRs[0])
        assert spec_of(cluster, "kubernetes").clusterIPs == ["10.43.0.1"]
        dns = spec_of(cluster, "kube-dns", "kube-system")
        assert dns.clusterIPs == ["10.43.0.10", "fd00:43::a"]
        assert dns.ipFamilyPolicy == "PreferDualStack"
        await deploy(cluster, 3)
        for pod in cluster.all(Pod):
            assert [":" in one.ip for one in pod.status.podIPs] == [False, True]
        await cluster.create(Service, service("both", ipFamilyPolicy="RequireDualStack"))
        await cluster.create(Service, service("six", ipFamilies=["IPv6"]))
        headless = service("none", clusterIP="None", ipFamilyPolicy="PreferDualStack")
        await cluster.create(Service, headless)
        await cluster.until(lambda: addresses_by_family(cluster, "six") == {"IPv6": 3})
        await cluster.until(lambda: addresses_by_family(cluster, "both") == {"IPv4": 3, "IPv6": 3})
        await cluster.until(lambda: addresses_by_family(cluster, "none") == {"IPv4": 3, "IPv6": 3})
        for name, is_six in (("both", False), ("six", True)):
            (found,) = [one for one in cluster.all(Endpoints) if one.metadata.name == name]
            assert {":" in one.ip for one in found.subsets[0].addresses} == {is_six}


@simulated
async def test_a_service_gains_and_loses_a_family_with_its_slices_and_addresses() -> None:
    async with dual(2, nodes=1) as cluster:
        await deploy(cluster, 2)
        await cluster.create(Service, service("web"))
        await cluster.until(lambda: addresses_by_family(cluster, "web") == {"IPv4": 2})
        primary = spec_of(cluster, "web").clusterIP
        patch = {"spec": {"ipFamilyPolicy": "PreferDualStack"}}
        await cluster.client.patch(Service, "web", patch, "default")
        await cluster.until(lambda: addresses_by_family(cluster, "web") == {"IPv4": 2, "IPv6": 2})
        both = spec_of(cluster, "web").clusterIPs
        assert both[0] == primary
        await cluster.restart()
        assert spec_of(cluster, "web").clusterIPs == both
        taken = service("other", clusterIP=both[1], clusterIPs=both[1:], ipFamilies=["IPv6"])
        with pytest.raises(Invalid, match="provided IP is already allocated"):
            await cluster.create(Service, taken)
        await cluster.client.patch(
            Service, "web", {"spec": {"ipFamilyPolicy": "SingleStack"}}, "default"
        )
        await cluster.until(lambda: addresses_by_family(cluster, "web") == {"IPv4": 2})
        assert both[1] not in {one.metadata.name for one in cluster.all(IPAddress)}


@simulated
async def test_a_range_of_services_comes_and_goes_live() -> None:
    async with dual(3, nodes=1) as cluster:
        cidrs = ["10.99.0.0/28", "fd00:99::/124"]
        more = ServiceCIDR(metadata=ObjectMeta(name="more"), spec=ServiceCIDRSpec(cidrs=cidrs))
        await cluster.client.create(more)

        def state() -> str:
            found = [one for one in cluster.all(ServiceCIDR) if one.metadata.name == "more"]
            return found[0].status.conditions[0].status if found[0].status.conditions else ""

        await cluster.until(lambda: state() == "True")
        inside = service("inside", clusterIP="10.99.0.3", clusterIPs=["10.99.0.3"])
        await cluster.create(Service, inside)
        await cluster.client.delete(ServiceCIDR, "more")
        await cluster.until(lambda: state() == "False")
        with pytest.raises(Invalid, match="not in the valid range"):
            await cluster.create(Service, service("late", clusterIP="10.99.0.4"))
        await asyncio.sleep(60)
        assert state() == "False"  # the address that is in use keeps it
        await cluster.client.delete(Service, "inside", "default")
        await cluster.until(
            lambda: "more" not in {one.metadata.name for one in cluster.all(ServiceCIDR)},
            seconds=60,
        )


@simulated
async def test_a_cluster_that_becomes_dual_stack_keeps_its_services_as_they_are() -> None:
    async with SimulatedCluster(4, nodes=1) as cluster:
        await cluster.create(Service, service("web", ipFamilyPolicy="PreferDualStack"))
        before = spec_of(cluster, "web").clusterIPs
        assert len(before) == 1
        cluster.become(replace(Config(), cluster_cidr=PODS, service_cidr=SERVICES))
        await cluster.restart()
        (default,) = cluster.all(ServiceCIDR)
        assert default.spec.cidrs == SERVICES.split(",")
        dns = spec_of(cluster, "kube-dns", "kube-system")
        assert dns.clusterIPs == ["10.43.0.10", "fd00:43::a"]
        assert cluster.plane.system.problem == ""
        patch = {"spec": {"sessionAffinity": "ClientIP"}}
        await cluster.client.patch(Service, "web", patch, "default")
        assert spec_of(cluster, "web").clusterIPs == before
        patch = {"spec": {"ipFamilyPolicy": "RequireDualStack"}}
        await cluster.client.patch(Service, "web", patch, "default")
        assert spec_of(cluster, "web").clusterIPs[:1] == before
        assert len(spec_of(cluster, "web").clusterIPs) == 2
